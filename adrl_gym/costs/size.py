"""Model size of a bit configuration. Pure functions.

Size counts weight bits over 32-bit weight bits, as the papers do: biases, norms and scales are left out.
"""

from collections.abc import Sequence

from adrl_gym.costs.cost import WIDTHS, AdditiveCost

FLOAT_BITS = 32


def weight_bits(bits: Sequence[int], parameters: Sequence[int]) -> int:
    """Bits that all weights take together.

    >>> weight_bits([2, 4], [100, 10])
    240
    """
    return sum(b * p for b, p in zip(bits, parameters, strict=True))


def size_ratio(bits: Sequence[int], parameters: Sequence[int]) -> float:
    """Size over the size of 32-bit weights, in (0, 0.25] for 1 to 8 bits.

    >>> size_ratio([2, 2], [100, 10])
    0.0625
    """
    return weight_bits(bits, parameters) / (FLOAT_BITS * sum(parameters))


def average_bits(bits: Sequence[int], parameters: Sequence[int]) -> float:
    """Bits a weight, in the mean over all weights."""
    return weight_bits(bits, parameters) / sum(parameters)


def size_cost(parameters: Sequence[int]) -> AdditiveCost:
    """Return the cost ``size`` of layers with so many weights each, in bits.

    >>> size_cost([100, 10]).ratio([2, 2])
    0.0625
    """
    entries = tuple(tuple(b * p for b in WIDTHS) for p in parameters)
    return AdditiveCost("size", entries, FLOAT_BITS * sum(parameters))
