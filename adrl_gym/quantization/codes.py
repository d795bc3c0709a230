"""Quantized weights as integers and scales, and back, bit for bit.

The quantizers give float32 weights. Nothing is lost by that: a weight is one float32 product of a step and a
level, or an entry of a codebook, so that the integers can be found again, and it is checked that they give the
very same weights. So any network on such a grid can be exported and finetuned, whatever has put it there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantization.grid import levels, nearest, round_to_levels


@dataclass(frozen=True)
class CodedWeight:
    """A quantized weight.

    Attributes:
        bits: bit-width, from 1 to 8.
        codes: uint8, of the weight's shape ``(O, ...)``: index of the level, or into the codebook; below ``2 ** bits``.
        scales: float32; the step of each output channel ``(O,)``, or the codebook ``(K,)``, ``K <= 2 ** bits``.
        codebook: which of the two.
        axis: of the weight, the one that counts output channels.

    >>> coded = encode(torch.tensor([[0.2, -0.6], [3.0, 1.0]]), bits=2, codebook=False, layer="fc")
    >>> coded.codes, coded.scales
    (tensor([[2, 0],
            [3, 2]], dtype=torch.uint8), tensor([0.4000, 2.0000]))
    >>> coded.weight
    tensor([[ 0.2000, -0.6000],
            [ 3.0000,  1.0000]])
    """

    bits: int
    codes: Tensor
    scales: Tensor
    codebook: bool
    axis: int = 0

    @property
    def weight(self) -> Tensor:
        """Float32, of the codes' shape: ``step * level`` or the codebook's entry."""
        if self.codebook:
            return self.scales[self.codes.long()]
        level = levels(self.bits)[self.codes.long()]  # (O, ...)
        return self.steps * level

    @property
    def steps(self) -> Tensor:
        """The step of each output channel, of a shape that the codes can be multiplied with."""
        return self.scales.reshape(*[1] * self.axis, -1, *[1] * (self.codes.dim() - 1 - self.axis))

    def integers(self) -> tuple[Tensor, Tensor]:
        """Signed integers, int8, and the scales ``(O,)`` that they are to be multiplied with; no codebook.

        Levels of 1 to 3 bits are odd multiples of half a step, so they count as odd integers of half the scale.
        """
        level = levels(self.bits)  # (2 ** bits,)
        unit = 1.0 if torch.equal(level, level.round()) else 0.5
        return (level / unit).to(torch.int8)[self.codes.long()], self.scales * unit


def parameter_name(layer: str, kind: str) -> str:
    """Name of a layer's ``weight`` or ``bias`` in the state dict; a network that is one layer has the name ``""``."""
    return f"{layer}.{kind}".lstrip(".")


def encode(weight: Tensor, bits: int, codebook: bool, layer: str, axis: int = 0) -> CodedWeight:
    """Find the integers and scales of a weight ``(O, ...)``.

    Args:
        weight: float32, finite, on a grid of ``bits`` bits.
        bits: from 1 to 8.
        codebook: whether the grid is a codebook for the whole layer, or a scale for each output channel.
        layer: its name, for messages.
        axis: of the weight, the one that counts output channels.

    Raises:
        AdrlGymError: the weight is not on such a grid.
    """
    weight = weight.detach().cpu().contiguous()  # (O, ...)
    if codebook:
        # As integers, so that 0.0 and -0.0 are two values.
        values, codes = weight.view(torch.int32).unique(return_inverse=True)  # (K,), (O, ...)
        if len(values) > 2**bits:
            raise _off_grid(layer, bits, f"{len(values)} different ones")
        return CodedWeight(bits, codes.to(torch.uint8), values.view(torch.float32), codebook=True, axis=axis)
    rows = weight.movedim(axis, 0)  # (O, ...)
    matrix = rows.flatten(1)  # (O, J)
    steps = _find_steps(matrix, bits)  # (O, 1)
    if failed := int(steps.isnan().sum()):
        raise _off_grid(layer, bits, f"{failed} of its {len(matrix)} output channels are no step times levels")
    level = nearest(matrix / torch.where(steps == 0, 1.0, steps), bits)  # (O, J)
    codes = (level - levels(bits)[0]).to(torch.uint8)  # (O, J)
    codes = codes.reshape(rows.shape).movedim(0, axis).contiguous()  # of the weight's shape
    return CodedWeight(bits, codes, steps[:, 0], codebook=False, axis=axis)


def _find_steps(matrix: Tensor, bits: int) -> Tensor:
    """A step for each row of ``(O, J)`` that gives all its weights exactly, ``(O, 1)``; NaN where there is none.

    The largest weight ``p`` of a row is some level times the step, rounded to float32. For each level ``l`` the step
    is then ``p / l`` or the float32 on either side: others give a product that is rounded to another float32.
    """
    peak = matrix.abs().amax(1, keepdim=True)  # (O, 1)
    steps = torch.where(peak == 0, 0.0, torch.nan)  # (O, 1)
    left = peak[:, 0].nonzero()[:, 0]  # rows without a step so far
    for level in (-levels(bits)[: 2 ** (bits - 1)]).tolist():  # from the largest on, where most rows have their peak
        for neighbour in (0, -1, 1):
            trial = ((peak[left] / level).view(torch.int32) + neighbour).view(torch.float32)  # (rows, 1)
            found = (round_to_levels(matrix[left], trial, bits) == matrix[left]).all(1)  # (rows,)
            steps[left[found]] = trial[found]
            left = left[~found]
    return steps


def _off_grid(layer: str, bits: int, found: str) -> AdrlGymError:
    return AdrlGymError(
        f"layer {layer}: its weights do not fit {bits} bits ({found}); export the network that was quantized with "
        "these bits and this quantizer"
    )
