"""The operator that puts a tensor on a grid of 8 bits; ONNX files have QuantizeLinear and DequantizeLinear for it.

PyTorch's ``fake_quantize_per_tensor_affine`` multiplies with the reciprocal of the scale, which rounds other values at
ties than ONNX's division, and cannot be traced by ``torch.export``.
"""

import torch
from torch import Tensor

from adrl_gym.layers import ActivationGrid


@torch.library.custom_op("adrl_gym::on_grid", mutates_args=())
def on_grid(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Return the nearest values ``scale * (q - zero_point)`` with ``q`` from 0 to 255, in the shape of ``x``."""
    return ActivationGrid(8, scale, zero_point).quantize(x)


@on_grid.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


ON_GRID = torch.ops.adrl_gym.on_grid.default  # the operator in a graph
