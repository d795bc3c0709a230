"""Sensitivity around the incumbent, and the indicator that profiles it."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adrl_agents import ADRL
from adrl_agents.adrl.indicators import ProfilingIndicator
from adrl_gym import QuantProblem
from adrl_gym.sensitivity.incumbent import measure_around
from adrl_gym.sensitivity.measured import measure_sensitivity
from adrl_gym.sensitivity.table import SensitivityTable

Batches = list[tuple[Tensor, Tensor]]
KEPT = {"fc2": 8}


@pytest.fixture
def env(tiny: nn.Module, batches: Batches) -> gym.Env[np.ndarray, Any]:
    options: dict[str, Any] = {"quantizer": "linear", "budget": 0.08, "keep": KEPT}
    return gym.make("adrl_gym/MixedPrecisionQuant-v0", network=tiny, data=batches, **options)


@pytest.fixture
def problem(env: gym.Env[np.ndarray, Any]) -> QuantProblem:
    found: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    return found


def test_costs_around_are_differences_to_the_configuration(problem: QuantProblem) -> None:
    alone, bits = measure_sensitivity(problem, "kl", 200), (2, 5, 8, 8)
    costs, errors = measure_around(problem, bits, "kl", 200, alone)
    assert costs.shape == errors.shape == (3, 8)
    (own,) = problem.costs([bits], "kl", 0, 200)  # (200,)
    for row, layer in enumerate(problem.searchable):
        near = range(max(1, bits[layer] - 2), min(8, bits[layer] + 2) + 1)
        for b in range(1, 9):
            edge = min(max(b, near[0]), near[-1])
            (changed,) = problem.costs([(*bits[:layer], edge, *bits[layer + 1 :])], "kl", 0, 200)  # (200,)
            expected = (changed - own).mean() + alone[row, b - 1] - alone[row, edge - 1]
            assert costs[row, b - 1] == pytest.approx(expected, abs=1e-9)
            assert errors[row, b - 1] == pytest.approx((changed - own).std() / 200**0.5, abs=1e-9)
        assert costs[row, bits[layer] - 1] == errors[row, bits[layer] - 1] == 0


def test_bit_widths_that_break_the_network_are_never_the_answer(
    problem: QuantProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that divides by a norm, say, has an infinite divergence where that becomes 0."""
    measure = problem.costs

    def broken(configurations: Any, score: Any = "kl", *given: Any) -> np.ndarray:
        costs = measure(configurations, score, *given)  # (M, N)
        return np.where([[bits[1] in (1, 2)] for bits in configurations], np.inf, costs)

    monkeypatch.setattr(problem, "costs", broken)
    indicator = ProfilingIndicator("best", images=100)
    for _ in range(20):
        if not (indicator.propose(problem) or indicator.thompson_sample(problem)):
            break
        answer = indicator.answer(problem)
        assert answer[1] > 2
        indicator.update(problem, answer)
    around = measure_around(problem, (2, 4, 2, 8), "kl", 100, measure_sensitivity(problem, "kl", 100))
    assert not np.isnan(around.costs).any()
    assert np.isfinite(around.errors).all()
    beside = measure_around(problem, (2, 1, 2, 8), "kl", 100, measure_sensitivity(problem, "kl", 100))  # broken itself
    assert SensitivityTable.of(problem, beside.costs).knapsack.complete(())[1] == 3, "the fewest that do not break it"


def test_scores_are_those_around_the_best(problem: QuantProblem) -> None:
    indicator, single = ProfilingIndicator("best", images=60), ProfilingIndicator("single", images=30)
    widths = list(range(1, 9))
    assert indicator(problem, (), widths) == single(problem, (), widths)  # nothing is known yet, and half will do
    assert indicator.propose(problem)
    poor, good = (1, 1, 1, 8), (4, 4, 3, 8)
    indicator.update(problem, poor)
    around_poor = indicator(problem, (), widths)
    indicator.update(problem, good)
    assert problem.evaluate(good).kl < problem.evaluate(poor).kl
    around_good = indicator(problem, (), widths)
    indicator.update(problem, poor)
    assert indicator(problem, (), widths) == around_good != around_poor


def test_proposals_come_to_an_end_and_none_comes_twice(problem: QuantProblem) -> None:
    indicator = ProfilingIndicator("best", images=100)
    tried: list[tuple[int, ...]] = []
    while indicator.propose(problem):
        bits = indicator.answer(problem)
        assert bits not in tried
        assert problem.fits(bits)
        tried.append(bits)
        indicator.update(problem, bits)
        assert len(tried) < 100
    assert len(tried) > 1
    assert indicator._best == min(tried, key=lambda bits: problem.evaluate(bits).kl)


def test_thompson_samples_are_new_and_leave_the_table_as_it_was(problem: QuantProblem) -> None:
    indicator = ProfilingIndicator("best", images=20)
    assert not indicator.thompson_sample(problem), "nothing was measured around a best yet"
    while indicator.propose(problem):
        indicator.update(problem, indicator.answer(problem))
    known, tried = indicator(problem, (), range(1, 9)), set(indicator._tried)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert indicator.thompson_sample(problem)
    drawn = indicator.answer(problem)
    assert indicator._tried - tried == {drawn}
    assert problem.fits(drawn)
    assert indicator(problem, (), range(1, 9)) != known
    indicator.update(problem, indicator._best or ())
    assert indicator(problem, (), range(1, 9)) == known


def test_a_table_drawn_for_an_interrupted_episode_is_forgotten(problem: QuantProblem) -> None:
    indicator = ProfilingIndicator("best", images=20)
    while indicator.propose(problem):
        indicator.update(problem, indicator.answer(problem))
    confidence = indicator._confidence
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert indicator.thompson_sample(problem)
    assert not indicator.propose(problem)
    assert indicator._confidence == confidence


def test_the_actor_learns_with_the_newest_scores(env: gym.Env[np.ndarray, Any], problem: QuantProblem) -> None:
    agent = ADRL(env=env, seed=0, k=4, context="best", profile_images=100, warmup_episodes=5).learn(3 * 15)
    alone = -ProfilingIndicator("single", images=100).replay_scores(problem)
    assert not np.allclose(-agent.actor.scores.numpy(), alone)
    assert np.array_equal(agent.actor.scores, agent.actor_target.scores)
