"""Outputs of a refitted network with the float network's scale.

Least squares on inputs that hold errors shrinks: what the inputs cannot tell of an output is left out, so that outputs
vary less than in the float network ("attenuation", Fuller 1987, "Measurement Error Models"). Each layer adds to it. At
the end the logits are too small: right in their order, and not sure enough. So each output channel gets the variance
back that it has in the float network, by its scale, and the logits get the factor of least divergence.

Sources:
    REPAIR (Jordan et al. 2023, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair") restores the
    variance of averaged networks channel by channel; ours goes into the scales of the quantized weights.
    Guo et al. 2017 ("On Calibration of Modern Neural Networks"): temperature scaling, there by labels, here by the
    float network's prediction.
"""

import dataclasses

import torch
from torch import Tensor

from adrl_gym.layers import LayerSpec, QuantizedParams
from adrl_gym.quantization.codes import encode

_MOST = 2.0  # largest factor: of a channel of which the inputs say little, errors would be blown up too
_TURNS, _GOLDEN = 30, (5**0.5 - 1) / 2


def rescale(weight: Tensor, factor: Tensor, bits: int, *, codebook: bool, layer: str, axis: int = 0) -> Tensor:
    """Multiply a quantized weight so that it stays on its kind of grid.

    Args:
        weight: ``(O, ...)``, quantized with ``bits`` bits.
        factor: ``(O,)``, positive; their geometric mean counts where one codebook serves all channels.
        bits: from 1 to 8.
        codebook: whether weights are entries of a codebook.
        layer: its name, for messages.
        axis: of the weight, the one that counts output channels.
    """
    coded = encode(weight, bits, codebook, layer, axis)
    factor = factor.cpu()  # (O,)
    if codebook:
        factor = factor.log().mean().exp()
    return dataclasses.replace(coded, scales=coded.scales * factor).weight.to(weight.device)


def scaled(params: QuantizedParams, factor: float, bits: int, layer: LayerSpec, *, codebook: bool) -> QuantizedParams:
    """Return the layer's parameters with ``factor`` times the weight and the bias; arguments as for ``rescale``."""
    weight, bias, axis = params.weight, params.bias, layer.channel_axis
    factors = torch.full((weight.shape[axis],), factor)  # (O,)
    weight = rescale(weight, factors, bits, codebook=codebook, layer=layer.name, axis=axis)  # (O, ...)
    return params._replace(weight=weight, bias=None if bias is None else factor * bias)


def gains(wanted: Tensor, delivered: Tensor) -> Tensor:
    """Return what gives outputs the wanted power, ``(O,)`` from both powers ``(O,)``; 1 where there is none."""
    usable = (wanted > 0) & (delivered > 0)
    ratio = torch.where(usable, wanted, 1) / torch.where(usable, delivered, 1)  # (O,)
    return ratio.sqrt().clamp(1 / _MOST, _MOST)


def temperature(wanted: Tensor, logits: Tensor) -> float:
    """Return the factor of ``logits`` of least divergence from the wanted logits, ``(N, K)`` each; 1 if none is better.

    The divergence is convex in the factor, so golden sections find it.
    """
    log_p = wanted.double().log_softmax(1)  # (N, K)
    p, z = log_p.exp(), logits.double()  # (N, K) each

    def divergence(factor: float) -> float:
        return float((p * (log_p - (factor * z).log_softmax(1))).sum())

    low, high = 1 / _MOST, _MOST
    for _ in range(_TURNS):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, b) if divergence(a) <= divergence(b) else (a, high)
    best = (low + high) / 2
    return best if divergence(best) < divergence(1.0) else 1.0
