"""Allocations on a table of sensitivities: exact, within the budget."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adrl_agents.baselines.greedy import allocate
from adrl_agents.baselines.local import neighbours
from adrl_gym.sensitivity.table import SensitivityTable
from size_tables import size_table

pytestmark = pytest.mark.usefixtures("scripts")


Batches = list[tuple[torch.Tensor, torch.Tensor]]


def random_table(seed: int, layers: int, widths: int, share: float) -> SensitivityTable:
    """Whole sizes, costs that fall mostly, and a budget between all layers at the lowest and all at the highest."""
    generator = np.random.default_rng(seed)
    parameters = generator.integers(1, 50, layers)
    allowed = parameters.sum() * (1 + share * (widths - 1))
    costs = generator.random((layers, widths)) / np.arange(1, 1 + widths)
    return size_table(costs, parameters.tolist(), int(allowed))


TABLES = st.builds(random_table, st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 4), st.floats(0, 1))


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_integer_programming_is_the_best_by_exhaustion(table: SensitivityTable) -> None:
    solved = table.columns(table.solve())
    n, widths = table.costs.shape
    fitting = [
        columns
        for columns in map(np.array, itertools.product(range(widths), repeat=n))
        if table.size(columns) <= table.allowed
    ]
    assert table.size(solved) <= table.allowed
    assert table.cost(solved) == pytest.approx(min(table.cost(columns) for columns in fitting), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_greedy_keeps_the_budget_and_wastes_nothing(table: SensitivityTable) -> None:
    columns = allocate(table)
    assert table.size(columns) <= table.allowed
    for layer in range(len(columns)):
        if columns[layer] + 1 < table.costs.shape[1]:
            more = columns.copy()
            more[layer] += 1
            assert table.size(more) > table.allowed or table.cost(more) >= table.cost(columns)


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_neighbours_are_one_swap_away_and_fit(table: SensitivityTable) -> None:
    best = table.columns(table.solve())
    around = list(neighbours(table, best))
    assert len({tuple(columns) for columns in around}) == len(around)
    for columns in around:
        change = columns - best
        assert table.size(columns) <= table.allowed
        assert (change > 0).sum() == change.max() == 1
        assert (change < 0).sum() <= 1
