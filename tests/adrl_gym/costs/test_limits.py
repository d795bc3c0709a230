"""Sizes of configurations and their projection onto a budget."""

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adrl_gym import AdrlGymError
from adrl_gym.costs import FLOAT_BITS, Limits, average_bits, size_cost, size_ratio, weight_bits

NONE: dict[int, int] = {}
LAYERS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 10**6)), min_size=1, max_size=30)


def project(
    bits: Sequence[int], parameters: Sequence[int], budget: float, min_bits: int, kept: Mapping[int, int] = NONE
) -> tuple[int, ...]:
    """Project onto a budget of the size."""
    return Limits([(size_cost(parameters), budget)], min_bits, kept).project(bits)


@given(LAYERS, st.floats(1 / 32, 0.3))
def test_projection_fits_the_budget_and_takes_no_more_than_needed(layers: list[tuple[int, int]], budget: float) -> None:
    bits, parameters = zip(*layers, strict=True)
    projected = project(bits, parameters, budget, min_bits=1)
    assert size_ratio(projected, parameters) <= budget
    assert all(1 <= p <= b for p, b in zip(projected, bits, strict=True))
    if size_ratio(bits, parameters) <= budget:
        assert projected == bits
    else:  # giving the last bit that was taken back would break the budget
        allowed = budget * FLOAT_BITS * sum(parameters)
        taken = [p for p, q, b in zip(parameters, projected, bits, strict=True) if q < b]
        assert weight_bits(projected, parameters) + max(taken) > allowed


@given(LAYERS)
def test_a_budget_that_is_a_size_ratio_leaves_that_configuration_alone(
    layers: list[tuple[int, int]],
) -> None:
    bits, parameters = zip(*layers, strict=True)
    budget = size_ratio(bits, parameters)
    assert project(bits, parameters, budget, min_bits=1) == bits
    assert size_cost(parameters).allowed(budget) == weight_bits(bits, parameters)
    assert project(bits, parameters, float("inf"), min_bits=1) == bits
    kept = {0: bits[0]}
    smallest = size_ratio([bits[0], *[1] * (len(bits) - 1)], parameters)
    assert project(bits, parameters, smallest, min_bits=1, kept=kept) == (bits[0], *[1] * (len(bits) - 1))
    with pytest.raises(AdrlGymError) as refused:
        project(bits, parameters, 0.9 * smallest, min_bits=1, kept=kept)
    advised = re.search(r"the smallest possible is ([\d.]+) ", str(refused.value))
    assert advised is not None
    assert size_ratio(project(bits, parameters, float(advised[1]), 1, kept), parameters) <= float(advised[1])


def test_projection_is_the_action_wall_of_haq() -> None:
    # From the last layer backwards, one bit at a time, and it stops as soon as the size fits.
    assert project([4, 4, 4], [10, 10, 10], budget=100 / 960, min_bits=1) == (4, 3, 3)
    assert project([1, 4, 4], [10, 10, 10], budget=60 / 960, min_bits=1) == (1, 3, 2)


def test_impossible_budget_names_the_smallest() -> None:
    with pytest.raises(AdrlGymError, match=r"smallest possible is 0\.0625"):
        project([4], [10], budget=0.05, min_bits=2)


def test_average_bits_is_weighted_by_parameters() -> None:
    assert average_bits([1, 4], [3, 1]) == 1.75
