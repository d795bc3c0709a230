"""The knapsack under several limits, against exhaustion and against HiGHS."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adrl_gym.sensitivity import SensitivityTable, frontier
from adrl_gym.sensitivity.frontier import FrontierKnapsack

LAYERS = [432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 640]  # ResNet20's weights
MACS = [2304 * 192, *[2304 * 1024] * 6, 4608 * 256, *[9216 * 256] * 5, 18432 * 64, *[36864 * 64] * 5, 640]


def two_limits(random: np.random.Generator, layers: int, widths: int) -> SensitivityTable:
    sizes = np.sort(random.integers(1, 50, (2, layers, widths)), axis=2)  # (2, n, widths)
    least, most = sizes[:, :, 0].sum(axis=1), sizes[:, :, -1].sum(axis=1)
    allowed = least + (random.random(2) * (most - least)).astype(int)
    return SensitivityTable(random.random((layers, widths)), sizes, allowed.tolist(), 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 4))
def test_both_solvers_are_the_best_by_exhaustion(seed: int, layers: int, widths: int) -> None:
    random = np.random.default_rng(seed)
    table = two_limits(random, layers, widths)
    every = [np.array(columns) for columns in itertools.product(range(widths), repeat=layers)]
    fitting = [columns for columns in every if (table.size(columns) <= table.allowed).all()]
    best = min(map(table.cost, fitting))
    for answer in (table.solve(), table.knapsack.complete(())):
        assert (table.size(table.columns(answer)) <= table.allowed).all()
        assert table.cost(table.columns(answer)) == pytest.approx(best)
    decided = tuple(int(b) for b in random.integers(2, 2 + widths, random.integers(0, layers)))
    begun = [c for c in fitting if tuple(c[: len(decided)] + 2) == decided]
    if begun:
        completed = table.columns(table.knapsack.complete(decided))
        assert table.cost(completed) == pytest.approx(min(map(table.cost, begun)))
    else:
        assert set(table.knapsack.complete(decided)[len(decided) :]) <= {2}


def test_many_layers_lose_little_and_keep_both_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    costs = np.sort(random.random((20, 8)), axis=1)[:, ::-1] * np.array(LAYERS)[:, None]
    sizes = np.stack([np.outer(amounts, range(1, 9)) for amounts in (LAYERS, MACS)])
    allowed = [int(2.5 * sum(LAYERS)), int(2.2 * sum(MACS))]
    table = SensitivityTable(costs, sizes, allowed, 1)
    answer, best = (table.columns(bits) for bits in (table.knapsack.complete(()), table.solve()))
    assert (table.size(answer) <= allowed).all()
    assert table.cost(best) <= table.cost(answer) <= 1.02 * table.cost(best)
    assert table.knapsack.cost_to_go(()) == pytest.approx(table.cost(answer))
    monkeypatch.setattr(frontier, "_MOST_STATES", 20)
    monkeypatch.setattr(frontier, "_CELLS", 4)
    thinned = SensitivityTable(costs, sizes, allowed, 1)
    coarse = thinned.columns(thinned.knapsack.complete(()))
    assert (thinned.size(coarse) <= allowed).all()
    smallest = SensitivityTable(costs, sizes, [sum(LAYERS), sum(MACS)], 1)
    assert smallest.knapsack.complete(()) == (1,) * 20


def test_many_limits_leave_no_more_states_than_two_and_lose_little() -> None:
    random = np.random.default_rng(12)
    costs = np.sort(random.exponential(1, (12, 8)) * 4.0 ** -np.arange(8), axis=1)[:, ::-1]  # (n, widths)
    sizes = np.cumsum(random.integers(1, 1000, (4, 12, 8)), axis=2)  # (limits, n, widths)
    allowed = (sizes[:, :, 0].sum(axis=1) + sizes[:, :, 4].sum(axis=1)) // 2  # (limits,)
    table = SensitivityTable(costs, sizes, allowed.tolist(), 1)
    assert isinstance(table.knapsack, FrontierKnapsack)
    assert max(map(len, table.knapsack._least)) <= frontier._MOST_STATES + 1  # and the smallest
    answer = table.columns(table.knapsack.complete(()))
    assert (table.size(answer) <= allowed).all()
    assert table.cost(answer) <= 1.1 * table.cost(table.columns(table.solve()))
