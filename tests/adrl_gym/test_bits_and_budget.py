"""Actions to bits, bit configurations, sizes and the projection onto a budget."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adrl_gym import AdrlGymError, BitConfig
from adrl_gym.bits import action_from_bits, bits_from_action, check_bits, check_partly_float, check_range, match_keep
from adrl_gym.costs import FLOAT_BITS, allowed_bits, average_bits, project, size_ratio, weight_bits

RANGES = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda pair: (min(pair), max(pair)))
LAYERS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 10**6)), min_size=1, max_size=30)


@given(RANGES, st.data())
def test_action_from_bits_is_the_inverse(bounds: tuple[int, int], data: st.DataObject) -> None:
    bits = data.draw(st.integers(*bounds))
    assert bits_from_action(action_from_bits(bits, *bounds), *bounds) == bits


@given(RANGES, st.floats(-1, 1), st.floats(-1, 1))
def test_more_action_never_means_fewer_bits(bounds: tuple[int, int], a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert bounds[0] <= bits_from_action(low, *bounds) <= bits_from_action(high, *bounds) <= bounds[1]


def test_every_bit_width_has_the_same_share_of_the_actions() -> None:
    actions = [-1 + 2 * (i + 0.5) / 8000 for i in range(8000)]
    counts = [sum(bits_from_action(a, 1, 8) == b for a in actions) for b in range(1, 9)]
    assert counts == [1000] * 8


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
    assert allowed_bits(budget, parameters) == weight_bits(bits, parameters)
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


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 8), min_size=1))
def test_bit_config_survives_json(bits: dict[str, int]) -> None:
    config = BitConfig.from_dict(bits)
    assert BitConfig.from_json(config.to_json()) == config
    assert config.for_layers(list(reversed(bits))) == tuple(reversed(bits.values()))


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "c"], "nothing of layer c"), (["a"], "unknown layer b")],
    ids=["missing", "unknown"],
)
def test_bit_config_of_another_network_names_the_layer(names: list[str], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        BitConfig.from_dict({"a": 1, "b": 2}).for_layers(names)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"schema": 1}', '{"schema": 9, "bits": {}}', '{"schema": 1, "bits": {"a": 9}}'),
        *('{"schema": 1, "bits": [1, 2]}', '{"schema": 1, "bits": 3}', '{"schema": 1, "bits": {"a": true}}'),
    ],
)
def test_bit_config_refuses_other_json(text: str) -> None:
    with pytest.raises(AdrlGymError):
        BitConfig.from_json(text)


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_of_numpy_are_integers(three: Any) -> None:
    config = BitConfig(("a",), (three,))
    assert BitConfig.from_json(config.to_json()) == config == BitConfig(("a",), (3,))
    assert match_keep({"a": three}, ["a", "b"]) == {0: 3}
    assert check_bits([three, three], 2, 1, 8) == (3, 3)
    assert check_range((three, three)) == (3, 3)
    assert type(check_bits([three], 1, 1, 8)[0]) is int


@pytest.mark.parametrize("other", [2.9, 3.0, True, np.bool_(True), "3", None, np.float32(3)])
def test_nothing_else_is_rounded_to_one(other: Any) -> None:
    with pytest.raises(AdrlGymError, match="is no bit-width"):
        BitConfig(("a",), (other,))
    with pytest.raises(AdrlGymError, match="a bit-width is an integer from 1 to 8"):
        match_keep({"a": other}, ["a", "b"])
    with pytest.raises(AdrlGymError, match=f"layer 1: {other} bits, but this problem has the integers 1 to 8"):
        check_bits([3, other], 2, 1, 8)
    with pytest.raises(AdrlGymError, match="two integers with 1 <= min_bits"):
        check_range((other, 8))


@pytest.mark.parametrize("bits", [4, (1, 2, 3), (4,), "28", None])
def test_a_range_is_two_bit_widths(bits: Any) -> None:
    with pytest.raises(AdrlGymError, match="two integers with 1 <= min_bits"):
        check_range(bits)


def test_float_layers_are_allowed_where_they_are_asked_for() -> None:
    assert check_partly_float((None, 2, None), 3, 2, 4, {0: 8}) == (None, 2, None)
    assert check_partly_float((8, 2, 4), 3, 2, 4, {0: 8}) == (8, 2, 4)
    for bits, message in (
        ((None, 0, None), "layer 1: 0 bits, but this problem has the integers 2 to 4"),
        ((4, None, None), "layer 0: 4 bits, but this problem keeps it at 8"),
        ((None, None), "2 bit-widths for a network of 3 quantizable layers"),
    ):
        with pytest.raises(AdrlGymError, match=message):
            check_partly_float(bits, 3, 2, 4, {0: 8})
