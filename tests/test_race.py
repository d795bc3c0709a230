"""Comparisons that stop early: rarely wrong, and never when nothing may be risked."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_agents.one_layer import Completion, LayerTable, one_layer_costs
from adrl_gym import QuantProblem
from adrl_gym.data import ImageSet, Splits
from adrl_gym.evaluation import race

Batches = list[tuple[Tensor, Tensor]]


def run(table: np.ndarray, error_rate: float, offsets: list[float] | None = None) -> tuple[list[float], int]:
    """Costs, and how many images were looked at."""
    looked = 0

    def costs(chosen: list[int], begin: int, end: int) -> np.ndarray:
        nonlocal looked
        looked += len(chosen) * (end - begin)
        return table[chosen, begin:end]

    return race(costs, offsets or [0.0] * len(table), table.shape[1], error_rate, step=10), looked  # type: ignore[arg-type]


@given(st.integers(0, 10**6))
def test_without_risk_all_candidates_see_all_images(seed: int) -> None:
    table = np.random.default_rng(seed).random((4, 200))
    costs, looked = run(table, 0.0, [0.0, 0.1, 0.2, 0.3])
    assert costs == pytest.approx((table.mean(axis=1) + np.array([0, 0.1, 0.2, 0.3])).tolist())
    assert looked == table.size


def test_the_error_rate_is_kept_and_images_are_saved() -> None:
    wrong, looked, trials = 0, 0, 400
    for seed in range(trials):
        random = np.random.default_rng(seed)
        # skewed costs on images of different difficulty, as divergences are
        table = random.exponential(1.0, (1, 500)) * random.exponential([[1.0], [1.02], [2.0], [5.0]], (4, 500))
        costs, images = run(table, 0.05)
        best = int(table.mean(axis=1).argmin())
        wrong += costs[best] == np.inf
        looked += images
    assert wrong <= 0.05 * trials
    assert looked < 0.75 * trials * 4 * 500


def test_clear_losers_leave_and_what_is_impossible_is_not_run() -> None:
    table = np.random.default_rng(0).random((3, 100)) + np.array([[0], [5], [0]])
    costs, looked = run(table, 0.05, [0.0, 0.0, np.inf])
    assert costs[0] < np.inf
    assert costs[1:] == [np.inf, np.inf]
    assert looked < 100


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(1.0, 3.0))
def test_best_with_each_choice_is_the_best_by_exhaustion(seed: int, layers: int, share: float) -> None:
    random = np.random.default_rng(seed)
    parameters = random.integers(1, 9, layers).tolist()
    costs, allowed = random.random((layers, 3)), share * sum(parameters)
    completion = Completion(costs, parameters, allowed, 1)

    def cost(bits: tuple[int, ...]) -> float:
        return float(sum(costs[i, b - 1] for i, b in enumerate(bits)))

    every = [
        bits
        for bits in itertools.product((1, 2, 3), repeat=layers)
        if sum(b * p for b, p in zip(bits, parameters, strict=True)) <= allowed
    ]
    for layer in range(layers):
        for width, best in enumerate(completion.best_with(layer), 1):
            fitting = [bits for bits in every if bits[layer] == width]
            assert (best is None) == (not fitting)
            if best is not None:
                assert best in fitting
                assert cost(best) == pytest.approx(min(map(cost, fitting)))


def test_a_raced_table_leads_to_the_same_bits_for_less(tiny: nn.Module, batches: Batches) -> None:
    splits = Splits(ImageSet(*batches[0]), None, "random")
    tables, work = [], []
    for error_rate in (0.0, 0.05):
        problem = QuantProblem(tiny, splits, budget=0.1)
        tables.append(LayerTable(problem, one_layer_costs(problem, "kl", 100, error_rate=error_rate)))
        work.append(problem.evaluations)
    assert tables[0].completion.complete(()) == tables[1].completion.complete(())
    assert work[1] < 0.8 * work[0]
