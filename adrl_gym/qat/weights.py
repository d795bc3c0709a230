"""Quantized weights that can be trained."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from adrl_gym.quantization import CodedWeight, QuantizedNetwork, levels, nearest, nonzero


class SteppedWeight(nn.Module):
    """A weight that is exactly a step times levels, in every forward pass of the training.

    What is trained are a latent weight and the step of each output channel (LSQ, Esser et al. 2020; here the step's
    logarithm, so that it stays positive). The level is the nearest to the latent weight over the step. Gradients pass
    the rounding as if it were not there (straight-through estimator, Bengio et al. 2013), but not to a latent weight
    that is more than half a step beyond the last level. Latent weights are in units of the first step: what moves one
    by a part of a step does so at any bit-width and in any layer.

    Args:
        coded: where to begin.
    """

    start: Tensor

    def __init__(self, coded: CodedWeight) -> None:
        super().__init__()
        self.bits = coded.bits
        self.register_buffer("start", coded.steps)  # (O, 1, ...)
        self.latent = nn.Parameter(coded.weight / nonzero(self.start))  # (O, ...)
        self.growth = nn.Parameter(torch.zeros_like(self.start))  # logarithm of the step over the first one

    def forward(self) -> Tensor:
        """The weight, ``(O, ...)``: a float32 product of step and level, as the exporter wants it."""
        lowest, highest = levels(self.bits)[[0, -1]].tolist()
        growth = self.growth.exp()  # (O, 1, ...)
        inside = (self.latent / growth).clamp(lowest - 0.5, highest + 0.5)  # (O, ...)
        level: Tensor = StraightThrough.apply(inside, self.bits)  # (O, ...)
        return self.start * growth * level


class StraightThrough(torch.autograd.Function):
    """The nearest level; backwards, nothing happens."""

    @staticmethod
    def forward(_: object, x: Tensor, bits: int) -> Tensor:
        """``x``, in steps, of any shape, to levels."""
        return nearest(x, bits)

    @staticmethod
    def backward(_: object, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient as it is."""
        return gradient, None


class CodebookWeight(nn.Module):
    """A weight whose values are entries of a codebook.

    Which entry a weight has stays; the entries are trained, each with the sum of its weights' gradients (Deep
    Compression, Han et al. 2016, section 3.3; so does HAQ).

    Args:
        coded: where to begin.
    """

    codes: Tensor
    start: Tensor
    unit: Tensor

    def __init__(self, coded: CodedWeight) -> None:
        super().__init__()
        self.register_buffer("codes", coded.codes.long())  # (O, ...)
        self.register_buffer("start", coded.scales)  # (K,)
        self.register_buffer("unit", coded.scales.square().mean().sqrt())
        self.shift = nn.Parameter(torch.zeros_like(coded.scales))  # (K,), in units of the codebook's size

    def forward(self) -> Tensor:
        """The weight, ``(O, ...)``."""
        return (self.start + self.unit * self.shift)[self.codes]


class QuantizedWeights(nn.Module):
    """The weights of all quantized layers.

    Args:
        quantized: the network to begin with.

    Raises:
        AdrlGymError: bits for unknown layers, weights that do not fit their bits.
    """

    def __init__(self, quantized: QuantizedNetwork) -> None:
        super().__init__()
        coded = quantized.encode()
        self.names = tuple(coded)
        self.weights = nn.ModuleList(
            CodebookWeight(weight) if weight.codebook else SteppedWeight(weight) for weight in coded.values()
        )

    def latent(self) -> list[nn.Parameter]:
        """Parameters in units of a step."""
        return [weight.latent for weight in self.weights if isinstance(weight, SteppedWeight)]

    def growths(self) -> list[nn.Parameter]:
        """Parameters that scale a whole output channel."""
        return [weight.growth for weight in self.weights if isinstance(weight, SteppedWeight)]

    def shifts(self) -> list[nn.Parameter]:
        """The entries of codebooks."""
        return [weight.shift for weight in self.weights if isinstance(weight, CodebookWeight)]

    def forward(self) -> Mapping[str, Tensor]:
        """Name of the parameter -> its value."""
        return {name: weight() for name, weight in zip(self.names, self.weights, strict=True)}
