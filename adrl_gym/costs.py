"""Model size of a bit configuration, and its projection onto a budget. Pure functions.

Size counts weight bits over 32-bit weight bits, as the papers do: biases, norms and scales are left out.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from adrl_gym.errors import AdrlGymError

FLOAT_BITS = 32
NONE_KEPT: Mapping[int, int] = MappingProxyType({})


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


def allowed_bits(budget: float, parameters: Sequence[int]) -> int:
    """The most weight bits whose ``size_ratio`` is within the budget, as floats compare them.

    >>> allowed_bits(0.0625, [100, 10])
    220
    """
    whole, budget = FLOAT_BITS * sum(parameters), min(budget, 1.0)  # nothing is larger
    allowed = int(budget * whole)
    while allowed / whole > budget:
        allowed -= 1
    while (allowed + 1) / whole <= budget:
        allowed += 1
    return allowed


def check_budget(budget: float, parameters: Sequence[int], min_bits: int, kept: Mapping[int, int] = NONE_KEPT) -> None:
    """Refuse a budget that no configuration meets; arguments as for ``project``.

    Raises:
        AdrlGymError: says the smallest possible budget.
    """
    smallest = size_ratio([kept.get(index, min_bits) for index in range(len(parameters))], parameters)
    if not budget >= smallest:
        how = f"all layers at {min_bits} bits"
        if kept:
            how = f"{len(kept)} layers kept at their bits, the others at {min_bits}"
        raise AdrlGymError(
            f"no configuration meets a budget of {budget:g} times the 32-bit size: "
            f"the smallest possible is {math.ceil(1e6 * smallest) / 1e6:g} ({how})"  # rounded up: it may be taken
        )


def project(
    bits: Sequence[int],
    parameters: Sequence[int],
    budget: float,
    min_bits: int,
    kept: Mapping[int, int] = NONE_KEPT,
) -> tuple[int, ...]:
    """HAQ's action wall: take bits away until the configuration fits the budget.

    From the last layer backwards every layer gives one bit, round after round, and it stops as soon as the size
    fits. A configuration that fits is left alone. Source: HAQ, section 3.3, and its ``_final_action_wall``.

    Args:
        bits: bit-width of each layer.
        parameters: weights of each layer.
        budget: largest size over the 32-bit size.
        min_bits: no layer goes below.
        kept: index of a layer -> bits that it has whatever ``bits`` say, and that it never gives.

    >>> project([4, 4], [100, 100], budget=0.1, min_bits=1)
    (3, 3)
    >>> project([4, 4], [100, 100], budget=0.1, min_bits=1, kept={1: 4})
    (2, 4)
    """
    check_budget(budget, parameters, min_bits, kept)
    allowed = allowed_bits(budget, parameters)
    projected = [kept.get(index, b) for index, b in enumerate(bits)]
    size = weight_bits(projected, parameters)
    while size > allowed:
        for index in reversed(range(len(projected))):
            if size <= allowed:
                break
            if index not in kept and projected[index] > min_bits:
                projected[index] -= 1
                size -= parameters[index]
    return tuple(projected)
