"""Integer weights and biases of a layer, with the batch norm after it. Modules that share a weight are one layer.

Channel ``o`` computes ``s_o (W_o x + b_o - m_o) + t_o`` with the norm's scale ``s``, mean ``m`` and shift ``t``. The
weights keep their integers: the size of ``s_o`` goes into the channel's step, and its sign into theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adrl_gym.quantization.codes import CodedWeight

# int32 holds the sum of products beside it: 4,608 products of 255 and 128 make 1.5e8.
_LARGEST_BIAS = 2.0**30
_SMALLEST_SCALE = 1e-18  # times an input's scale it is still a normal float32


@dataclass(frozen=True)
class IntegerLayer:
    """A layer's weight and biases in integers.

    Attributes:
        bits: of the weights.
        integers: int8, of the weight's shape ``(O, ...)``; the weight is ``integers * signs * scales``.
        signs: int8 ``(O,)``, 1 or -1.
        scales: float32 ``(O,)``, positive.
        input_scale: of the grid of the layer's input.
        biases: name of the bias -> int32 ``(O,)``, in units of ``input_scale * scales``. Modules that share the weight
            may each have one.
    """

    bits: int
    integers: Tensor
    signs: Tensor
    scales: Tensor
    input_scale: float
    biases: dict[str, Tensor] = field(default_factory=dict)

    @property
    def float_weight(self) -> Tensor:
        """Float32, of the integers' shape."""
        scales = (self.signs * self.scales).view(-1, *[1] * (self.integers.dim() - 1))  # (O, 1, ...)
        return self.integers * scales

    @property
    def float_biases(self) -> dict[str, Tensor]:
        """The biases that the integers mean, float32 ``(O,)`` each."""
        return {name: bias * (self.input_scale * self.scales) for name, bias in self.biases.items()}


@dataclass(frozen=True)
class Norm:
    """A batch norm's scale and shift of each channel, float64 ``(O,)``: it computes ``scale * x + shift``."""

    scale: Tensor
    shift: Tensor

    @staticmethod
    def of(weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float) -> "Norm":
        """Return that of the arguments of ``batch_norm`` in evaluation mode, ``(O,)`` each."""
        scale = (variance.double() + eps).rsqrt()  # (O,)
        if weight is not None:
            scale = scale * weight.double()  # (O,)
        shift = -mean.double() * scale  # (O,)
        return Norm(scale, shift if bias is None else shift + bias.double())


def integer_layer(
    weight: CodedWeight, biases: Mapping[str, Tensor], norm: Norm | None, input_scale: float
) -> IntegerLayer:
    """Return a layer's integers for a grid of its input.

    A norm's shift is among the biases, which are those after it.

    A bias of more than 2^30 units belongs to a channel whose weights are next to nothing: its step grows until the
    bias fits. Under a negative scale the smallest of 256 levels becomes the second smallest, since int8 ends at 127.
    """
    integers, scales = weight.integers()  # int8 (O, ...), (O,)
    scales = scales.double()  # (O,)
    signs = torch.ones(len(scales), dtype=torch.int8)  # (O,)
    if norm is not None:
        scales = scales * norm.scale.abs()  # (O,)
        signs[norm.scale < 0] = -1
        integers[norm.scale < 0] = integers[norm.scale < 0].clamp_min(-127)
    for bias in biases.values():
        scales = scales.maximum(bias.double().abs() / (_LARGEST_BIAS * input_scale))  # (O,)
    scales = scales.clamp_min(_SMALLEST_SCALE).float()  # (O,)
    units = (input_scale * scales).double()  # (O,): the product in float32, as runtimes compute it
    rounded = {name: (bias.double() / units).round().to(torch.int32) for name, bias in biases.items()}  # (O,) each
    return IntegerLayer(weight.bits, integers, signs, scales, input_scale, rounded)
