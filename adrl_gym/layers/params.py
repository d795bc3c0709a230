"""Quantized weights of one layer, and networks that compute with them."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from adrl_gym.layers.find import LayerSpec, quantizable
from adrl_gym.layers.kinds import Quantizable


class QuantizedParams(NamedTuple):
    """Parameters of one layer: ``weight`` of its module's shape, ``bias`` ``(O,)`` or ``None``, both float32."""

    weight: Tensor
    bias: Tensor | None


def own_params(module: Quantizable) -> QuantizedParams:
    """Return the module's own weight and bias, detached; an embedding has no bias."""
    bias = getattr(module, "bias", None)
    return QuantizedParams(module.weight.detach(), None if bias is None else bias.detach())


def load_quantized(module: Quantizable, version: QuantizedParams) -> None:
    """Let ``module``, and every other one that shares its weight, compute with ``version``."""
    module.weight.data = version.weight
    if not isinstance(module, nn.Embedding):
        module.bias = None if version.bias is None else nn.Parameter(version.bias, requires_grad=False)


def quantized_copy(network: nn.Module, layers: Sequence[LayerSpec], versions: Sequence[QuantizedParams]) -> nn.Module:
    """A copy of ``network`` on the CPU whose ``layers`` compute with copies of ``versions``."""
    network = copy.deepcopy(network).cpu()
    for layer, (weight, bias) in zip(layers, versions, strict=True):
        own = QuantizedParams(weight.detach().cpu().clone(), None if bias is None else bias.detach().cpu().clone())
        load_quantized(quantizable(network, layer), own)
    return network
