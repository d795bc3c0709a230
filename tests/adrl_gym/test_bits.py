"""Bit-widths: from actions and back, configurations as JSON, and what is no bit-width."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adrl_gym import AdrlGymError, BitConfig
from adrl_gym.bits import action_from_bits, bits_from_action, check_bits, check_partly_float, check_range, match_keep

RANGES = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda pair: (min(pair), max(pair)))


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
