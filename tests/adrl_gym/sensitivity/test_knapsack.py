"""The multiple-choice knapsack, against exhaustion and a well-kept solver."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adrl_gym.sensitivity import SensitivityTable
from adrl_gym.sensitivity.knapsack import Knapsack, lagrange_multiplier
from size_tables import size_table, weight_sizes


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3), st.floats(1.0, 4.0))
def test_completion_is_the_best_by_exhaustion(seed: int, layers: int, lowest: int, share: float) -> None:
    random = np.random.default_rng(seed)
    parameters = random.integers(1, 9, layers).tolist()
    costs = random.random((layers, 3))
    allowed = int(share * lowest * sum(parameters))
    decided = tuple(int(b) for b in random.integers(lowest, lowest + 3, random.integers(0, layers)))
    completed = Knapsack(costs, weight_sizes(parameters, 3, lowest)[0], allowed, lowest).complete(decided)
    assert completed[: len(decided)] == decided
    best = np.inf
    for rest in itertools.product(range(lowest, lowest + 3), repeat=layers - len(decided)):
        bits = (*decided, *rest)
        if sum(b * p for b, p in zip(bits, parameters, strict=True)) <= allowed:
            best = min(best, sum(costs[i, b - lowest] for i, b in enumerate(bits)))
    if best == np.inf:
        assert set(completed[len(decided) :]) <= {lowest}
    else:
        assert abs(sum(costs[i, b - lowest] for i, b in enumerate(completed)) - best) < 1e-9


def test_completion_equals_highs_on_the_sizes_of_resnet20() -> None:
    random = np.random.default_rng(0)
    parameters = [432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 640]
    costs = np.sort(random.random((20, 8)), axis=1)[:, ::-1] * np.array(parameters)[:, None]
    for budget in (0.0625, 0.1):
        table = size_table(costs, parameters, int(budget * 32 * sum(parameters)))
        assert table.knapsack.complete(()) == table.solve()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_the_answer_is_the_best_by_exhaustion_however_fine_sizes_are(seed: int) -> None:
    table = _fine_table(seed)
    solved = table.columns(table.solve())
    assert table.size(solved) <= table.allowed
    assert table.cost(solved) == min(_fitting_costs(table))


def test_coarse_sizes_alone_would_miss_the_best() -> None:
    """Rounding is why ``solve`` asks HiGHS: here it loses the configuration that fills the budget."""
    table = _fine_table(seed=2)
    by_look_up = table.columns(table.knapsack.complete(()))
    assert table.size(by_look_up) <= table.allowed
    assert table.cost(by_look_up) > table.cost(table.columns(table.solve()))


def _fine_table(seed: int) -> SensitivityTable:
    """Sizes without a common divisor, and a budget that one configuration fills to the last bit."""
    random = np.random.default_rng(seed)
    parameters = [int(p) for p in random.integers(500_000, 1_000_000, 5) * 2 + 1]
    parameters[0] = 1_000_003  # a prime
    costs = np.sort(random.random((5, 4)), axis=1)[:, ::-1]
    filling = random.integers(2, 5, 5)
    return size_table(costs, parameters, int(filling @ parameters))


def _fitting_costs(table: SensitivityTable) -> list[float]:
    n, widths = table.costs.shape
    every = map(np.array, itertools.product(range(widths), repeat=n))
    return [table.cost(columns) for columns in every if table.size(columns) <= table.allowed]


def test_a_coarse_unit_never_breaks_the_budget() -> None:
    parameters = [1_000_003, 7, 2_345_677]  # no common divisor: sizes are counted in coarser units
    costs = np.array([[3.0, 2.0, 1.0]] * 3)
    allowed = int(2.1 * sum(parameters))
    bits = Knapsack(costs, weight_sizes(parameters, 3)[0], allowed, 1).complete(())
    assert sum(b * p for b, p in zip(bits, parameters, strict=True)) <= allowed
    assert max(bits) > 1


def test_the_lagrange_multiplier_is_the_least_that_keeps_the_budget() -> None:
    random = np.random.default_rng(1)
    costs = np.sort(random.random((10, 4)), axis=1)[:, ::-1]
    parameters = random.integers(1, 100, 10).tolist()
    sizes = np.outer(parameters, np.arange(1, 5))
    allowed = int(2.5 * sum(parameters))
    least = lagrange_multiplier(costs, sizes[None], np.array([allowed]))
    taken = [int(sizes[np.arange(10), (costs + p * sizes).argmin(1)].sum()) for p in (least, least * 0.999)]
    assert taken[0] <= allowed < taken[1]
