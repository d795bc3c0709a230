"""Quantized weights and inputs of one layer, and networks that compute with them."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from adrl_gym.layers.find import LayerSpec, quantizable
from adrl_gym.layers.inputs import ActivationGrid, input_grid, set_input_grid
from adrl_gym.layers.kinds import Quantizable


class QuantizedParams(NamedTuple):
    """Parameters of one layer.

    Attributes:
        weight: float32, of its module's shape.
        bias: float32 ``(O,)``, or ``None``.
        grid: of the layer's input, which is quantized before it meets the weight; ``None`` leaves it float.
    """

    weight: Tensor
    bias: Tensor | None
    grid: ActivationGrid | None = None


def own_params(module: Quantizable) -> QuantizedParams:
    """Return the module's own weight and bias, detached, and its input's grid; an embedding has no bias."""
    bias = getattr(module, "bias", None)
    return QuantizedParams(module.weight.detach(), None if bias is None else bias.detach(), input_grid(module))


def load_quantized(module: Quantizable, version: QuantizedParams) -> None:
    """Let ``module``, and every other one that shares its weight, compute with ``version``."""
    module.weight.data = version.weight
    if not isinstance(module, nn.Embedding):
        module.bias = None if version.bias is None else nn.Parameter(version.bias, requires_grad=False)
    set_input_grid(module, version.grid)


def quantized_copy(network: nn.Module, layers: Sequence[LayerSpec], versions: Sequence[QuantizedParams]) -> nn.Module:
    """A copy of ``network`` on the CPU whose ``layers`` compute with copies of ``versions``."""
    network = copy.deepcopy(network).cpu()
    for layer, (weight, bias, grid) in zip(layers, versions, strict=True):
        bias = None if bias is None else bias.detach().cpu().clone()
        load_quantized(quantizable(network, layer), QuantizedParams(weight.detach().cpu().clone(), bias, grid))
    return network
