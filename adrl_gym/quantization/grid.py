"""The levels a weight can take, in units of the quantization step.

A level is a two's complement code plus an offset. With 1 to 3 bits the offset is a half: the levels are odd
multiples of half a step and none is zero, because so few levels cannot afford to be lopsided. At uniform 2
bits ResNet20 keeps twice the accuracy that way. With 4 to 8 bits the offset is zero.

The levels nest: those of ``b - 1`` bits are among those of ``b`` bits at the same step, or, from 3 to 4
bits, at half the step. So the least squared error never grows with the bits.
"""

import torch
from torch import Tensor

MOST_BITS = 8
_MOST_BITS_WITHOUT_ZERO = 3


def offset(bits: int) -> float:
    """Return the distance from a code to its level, in steps: 0.5 for 1 to 3 bits, 0 for 4 to 8."""
    return 0.5 if bits <= _MOST_BITS_WITHOUT_ZERO else 0.0


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code.

    >>> code_range(4)
    (-8, 7)
    """
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def levels(bits: int) -> Tensor:
    """All ``2 ** bits`` levels in rising order, float32, in steps.

    >>> levels(2)
    tensor([-1.5000, -0.5000,  0.5000,  1.5000])
    >>> levels(4)[0], levels(4)[-1]
    (tensor(-8.), tensor(7.))
    """
    lowest, highest = code_range(bits)
    return torch.arange(lowest, highest + 1) + offset(bits)


def nearest(x: Tensor, bits: int) -> Tensor:
    """The level nearest to every element of ``x``, which is in steps; any shape.

    >>> nearest(torch.tensor([-9.0, 0.1, 1.2]), bits=2)
    tensor([-1.5000,  0.5000,  1.5000])
    """
    return (x - offset(bits)).round_().clamp_(*code_range(bits)).add_(offset(bits))


def round_in_place(x: Tensor) -> Tensor:
    """Round ``x`` (float32 or float64, any shape) to integers, halves to even ones, by adding a large number.

    Beyond a quarter of the largest exact integer (``2^22`` in float32) results are only near; clamp them. ``round_``
    takes several threads from 2,048 elements on, and on a busy machine waits longer for them than they work.

    >>> round_in_place(torch.tensor([-0.7, 0.5, 1.5, 3.2]))
    tensor([-1.,  0.,  2.,  3.])
    """
    large = 1.5 / torch.finfo(x.dtype).eps  # its last place counts ones
    return x.add_(large).sub_(large)


def round_to_levels(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """``weight`` ``(O, J)`` with each row at its ``step`` ``(O, 1)`` times the nearest levels.

    A step is at least 0; one of 0 belongs to a row of zeros and leaves it as it is.

    >>> round_to_levels(torch.tensor([[0.1, 0.3], [0.0, 0.0]]), torch.tensor([[0.2], [0.0]]), bits=2)
    tensor([[0.1000, 0.3000],
            [0.0000, 0.0000]])
    """
    return step * nearest(weight / nonzero(step), bits)


def nested_step(step: Tensor, bits: int) -> Tensor:
    """The step at which the levels of ``bits`` bits contain those that ``bits - 1`` bits have at ``step``."""
    return step if offset(bits) == offset(bits - 1) else step / 2


def nonzero(divisor: Tensor) -> Tensor:
    """``divisor`` with ones for its zeros, where the dividend is zero too."""
    return divisor.masked_fill(divisor == 0, 1)
