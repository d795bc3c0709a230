"""Budgets of several kinds: what they cost, and what is refused."""

import re
from typing import Any

import pytest

from adrl_gym import AdrlGymError
from adrl_gym.config import ProblemConfig
from adrl_gym.costs import AdditiveCost, Limits, cost_of, limits_of, parse_budget
from adrl_gym.layers import LayerSpec


def layer(name: str, parameters: int, macs: int, inputs: int, outputs: int) -> LayerSpec:
    """A linear layer of made-up amounts."""
    return LayerSpec(
        name=name,
        kind="linear",
        weight_shape=(1, parameters),
        parameters=parameters,
        macs=macs,
        in_channels=inputs,
        out_channels=outputs,
        kernel=1,
        stride=1,
        input_size=1,
        groups=1,
        input_shape=(inputs,),
        output_shape=(outputs,),
    )


LAYERS = layer("a", 100, 1000, 50, 10), layer("b", 10, 4000, 10, 30)


def test_bitops_are_macs_times_both_bit_widths() -> None:
    cost = cost_of("bitops", LAYERS, [8, 4])
    assert cost.total([2, 3]) == 1000 * 2 * 8 + 4000 * 3 * 4
    assert cost.whole == 5000 * 32 * 32
    assert cost_of("bitops", LAYERS, [32, 32]).ratio([4, 4]) == 4 / 32


def test_memory_leaves_the_weights_what_the_peak_of_activations_does_not_take() -> None:
    for bits in (32, 8):
        cost = cost_of("memory", LAYERS, [bits, bits])
        assert cost.total([2, 8]) == 2 * 100 + 8 * 10 + 60 * bits
        assert cost.whole == 32 * (110 + 60)
    peak = 60 * 32 / (32 * 170)
    limits = Limits([(cost_of("memory", LAYERS, [32, 32]), peak + 220 / (32 * 170) + 1e-9)], 1)
    assert limits.project([8, 8]) == (2, 2)
    with pytest.raises(
        AdrlGymError, match=r"0.3 times the 32-bit memory: the smallest possible is .* float activation"
    ):
        Limits([(cost_of("memory", LAYERS, [32, 32]), 0.3)], 1)


def test_the_action_wall_goes_on_until_every_limit_holds() -> None:
    size, bitops = cost_of("size", LAYERS, [32, 32]), cost_of("bitops", LAYERS, [32, 32])
    both = Limits([(size, 2.2 / 32), (bitops, 4 / 32)], 1)
    assert both.project([8, 8]) == (2, 2)
    assert Limits([(size, 2.2 / 32)], 1).project([8, 8]) == (2, 2)
    assert Limits([(bitops, 4 / 32)], 1).project([8, 8]) == (4, 4)
    only_bitops = Limits([(size, 1.0), (bitops, 4 / 32)], 1)
    assert only_bitops.project([8, 8]) == (4, 4)
    assert only_bitops.ratios([4, 4]) == {"size": 0.125, "bitops": 0.125}
    assert only_bitops.full([4, 4])
    assert not only_bitops.full([4, 3])


def test_every_limit_that_cannot_be_met_is_named() -> None:
    costs = [(cost_of(kind, LAYERS, [32, 32]), 0.01) for kind in ("size", "bitops")]
    with pytest.raises(AdrlGymError) as refused:
        Limits(costs, 2, kept={0: 8})
    told = str(refused.value)
    assert "no configuration meets a budget of 0.01 times the 32-bit size: the smallest possible is 0.232955" in told
    assert "and none a budget of 0.01 times the bit operations in 32 x 32 bits: the smallest possible is 0.1 " in told
    assert told.count("1 layers kept at their bits, the others at 2") == 2


def test_a_limit_above_the_largest_cost_leaves_all_bits() -> None:
    slow = AdditiveCost("latency", ((150,) * 8,), whole=100)  # slower than float
    assert Limits([(slow, 1.5)], 1).project([8]) == (8,)
    with pytest.raises(AdrlGymError, match=r"the float network's latency: the smallest possible is 1\.5"):
        Limits([(slow, 1.0)], 1)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"flops": 0.1}, "unknown kind of budget 'flops': choose one of size, bitops, latency, energy, memory"),
        ({}, "the budget names no kind: give at least one of size"),
        ({"bitops": "much"}, "budget bitops='much': a number is needed"),
        ({"bitops": float("nan")}, "budget bitops=nan: a number is needed"),
        (None, "budget=None: a number is needed"),
    ],
)
def test_budgets_that_are_none(budget: Any, message: str) -> None:
    with pytest.raises(AdrlGymError, match=re.escape(message)):
        ProblemConfig(budget=budget)


def test_a_budget_has_one_form() -> None:
    assert ProblemConfig(budget={"size": 0.1}).budget == 0.1
    assert list(limits_of({"memory": 0.5, "size": 1})) == ["size", "memory"]
    with pytest.raises(AdrlGymError, match="limits size twice"):
        parse_budget(["0.1", "size=0.2"])
    with pytest.raises(AdrlGymError, match="budget size=x: give a share"):
        parse_budget(["size=x"])
