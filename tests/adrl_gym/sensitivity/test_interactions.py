"""Interactions between layers: what an expansion says of pairs, and the bits that minimise a quadratic model."""

import itertools

import numpy as np
import pytest

from adrl_gym.sensitivity import Expansion, SensitivityTable, minimise_pairwise


@pytest.fixture
def expansion() -> Expansion:
    generator = np.random.default_rng(0)
    alike = np.array([1.5, 1.5, 1.5, 0, 0])[:, None] * generator.normal(size=(30, 3, 1, 1))  # (N, draws, n, 1)
    errors = 2.0 ** -np.arange(4) * (alike + generator.normal(size=(30, 3, 5, 1)))  # (N, draws, n, widths)
    noise = 0.02 * generator.normal(size=(30, 3, 5, 4))
    return Expansion(np.zeros((30, 5, 4), np.float32), (errors + noise).astype(np.float32), np.ones((5, 4), bool))


def value(costs: np.ndarray, interactions: np.ndarray, columns: np.ndarray) -> float:
    layers = np.arange(len(columns))
    pairs = interactions[layers[:, None], columns[:, None], layers, columns].sum()
    return float(costs[layers, columns].sum() + pairs)


def test_costs_and_interactions_are_the_expansion(expansion: Expansion) -> None:
    interactions = expansion.interactions()
    np.testing.assert_allclose(interactions, interactions.transpose(2, 3, 0, 1))
    assert not interactions[np.arange(5), :, np.arange(5)].any()
    for columns in (np.zeros(5, int), np.array([3, 0, 2, 1, 0])):
        assert value(expansion.costs(), interactions, columns) == pytest.approx(expansion.change(columns), rel=1e-5)


def test_the_minimum_is_within_every_limit_and_no_pair_of_changes_is_better(expansion: Expansion) -> None:
    costs, interactions = expansion.costs(), expansion.interactions()
    sizes = np.array([[[10 * (b + 1) * (layer + 1) for b in range(4)] for layer in range(5)], [[1, 2, 3, 4]] * 5])
    table = SensitivityTable(costs, sizes, allowed=[300, 11], min_bits=1)
    found = minimise_pairwise(table, interactions)
    fitting = [
        columns
        for columns in map(np.array, itertools.product(range(4), repeat=5))
        if (table.size(columns) <= table.allowed).all()
    ]
    assert any((columns == found).all() for columns in fitting)
    near = [columns for columns in fitting if (columns != found).sum() <= 2]
    least = min(value(costs, interactions, columns) for columns in near)
    assert value(costs, interactions, found) == pytest.approx(least)
    knapsack = table.columns(table.knapsack.complete(()))
    assert value(costs, interactions, found) < value(costs, interactions, knapsack)
    assert (minimise_pairwise(table, 0 * interactions) == knapsack).all()
