"""Racing: the error rate is kept, and without risk every candidate sees every image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adrl_gym.evaluation.racing import race


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
