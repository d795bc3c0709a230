"""Q-value indicators: profiling and distance, their completion and their Lagrange multiplier."""

import itertools
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from adrl_agents import ADRL
from adrl_agents.adrl.distance import DistanceIndicator
from adrl_agents.adrl.indicators import ProfilingIndicator, score_table, uniform_rest
from adrl_agents.adrl.policies import CandidateActor
from adrl_gym import QuantProblem
from adrl_gym.bits import bits_from_action
from adrl_gym.evaluation.metrics import SCORES
from adrl_gym.sensitivity.table import SensitivityTable
from environments import Batches, actions_stored, make_env


def test_any_callable_is_an_indicator(env: gym.Env[np.ndarray, Any]) -> None:
    def prefers_four(problem: QuantProblem, decided: tuple[int, ...], candidates: Sequence[int]) -> list[float]:
        return [-abs(b - 4) for b in candidates]

    agent = ADRL(env=env, seed=0, k=16, indicator=prefers_four, warmup_episodes=100).learn(40)
    bits = {bits_from_action(float(a[0]), 2, 4) for a in actions_stored(agent)}
    assert bits == {4}  # of 16 random candidates one is always 4 bits


def test_the_chosen_candidate_is_the_one_that_scores_best(env: gym.Env[np.ndarray, Any]) -> None:
    agent = ADRL(env=env, seed=0, k=3)
    problem = agent.problem
    observation, _ = env.reset()
    candidates = np.array([[-0.9], [0.0], [0.9]], np.float32)  # 2, 3 and 4 bits
    scores = agent.indicator(problem, (), [2, 3, 4])
    chosen = agent._refine(agent._training, observation, candidates)
    assert chosen == candidates[int(np.argmax(scores))]


def test_profiling_stops_early_with_the_same_choice(tiny: nn.Module, batches: Batches) -> None:
    lost = 0
    for context, score in itertools.product(("prefix", "completed"), SCORES):
        problem = make_env(tiny, batches, bits=(2, 4)).unwrapped.problem  # type: ignore[attr-defined]
        quick, whole = (ProfilingIndicator(context, score, 300, early) for early in (True, False))  # type: ignore[arg-type]
        quick(problem, (), [2])
        whole._tables, whole._of = quick._tables, problem  # the same one-layer table for both
        for decided in [(), (2,), (3, 4), (4, 4, 4)]:
            a = np.array(quick(problem, decided, [2, 3, 4]))
            b = np.array(whole(problem, decided, [2, 3, 4]))
            assert a.argmax() == b.argmax()
            lost += int(np.sum(np.isneginf(a) & ~np.isneginf(b)))
    assert lost > 0


def test_the_rest_is_completed_with_one_bit_width(env: gym.Env[np.ndarray, Any]) -> None:
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    for decided in [(), (2,), (4, 4)]:
        whole = uniform_rest(problem, decided)
        assert whole[: len(decided)] == decided
        assert len(set(whole[len(decided) :])) == 1
        larger = (*decided, *[whole[-1] + 1] * (4 - len(decided)))
        assert problem.fits(whole)
        assert not problem.fits(larger)
    indicator = ProfilingIndicator("completed", "kl", 300, early_termination=False, completion="uniform")
    expected = [-problem.evaluate(problem.project(uniform_rest(problem, (3, b)))).kl for b in (2, 3, 4)]
    assert indicator(problem, (3,), [2, 3, 4]) == pytest.approx(expected)


def test_without_memoization_the_same_is_found_at_a_higher_cost(tiny: nn.Module, batches: Batches) -> None:
    agents = []
    for memoization in (True, False):
        settings: dict[str, Any] = {"k": 3, "profile_images": 300, "sensitivity": "measured"}
        agent = ADRL(env=make_env(tiny, batches, bits=(2, 4)), seed=0, memoization=memoization, **settings)
        agents.append(agent.learn(12))
    with_memo, without = agents
    assert np.array_equal(actions_stored(with_memo), actions_stored(without))
    assert without.problem.evaluations > 1.5 * with_memo.problem.evaluations


def test_replayed_states_are_refined_as_the_table_says(env: gym.Env[np.ndarray, Any]) -> None:
    agent = ADRL(env=env, seed=0, k=5, context="single").learn(8)
    problem, actor = agent.problem, agent.actor
    assert isinstance(actor, CandidateActor)
    table = score_table(agent.indicator, problem)
    observations = torch.as_tensor(
        np.array([env.reset()[0], *(env.step(np.zeros(1, np.float32))[0] for _ in range(3))])
    )
    with torch.no_grad():
        candidates = actor.candidates(observations)  # (4, k, 1)
        refined = actor(observations)  # (4, 1)
    for layer in range(4):
        bits = [bits_from_action(float(a), 2, 4) for a in candidates[layer, :, 0]]
        scores = [np.float32(table[layer, b - 2]) for b in bits]
        best = max(range(5), key=lambda i: (scores[i], -bits[i]))
        assert bits_from_action(float(refined[layer, 0]), 2, 4) == bits[best]


def test_price_of_size_meets_the_budget(env: gym.Env[np.ndarray, Any]) -> None:
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    table = SensitivityTable.of(problem, problem.distances)
    chosen = [int(b) + problem.min_bits for b in table.priced.argmin(1)]
    assert problem.fits(chosen)
    assert table.knapsack.cost_to_go(()) == pytest.approx(
        sum(problem.distances[i, b - 2] for i, b in enumerate(table.knapsack.complete(())))
    )
    assert problem.project(table.knapsack.complete(())) == table.knapsack.complete(())


def test_distance_indicator_prefers_near_weights_within_the_budget(env: gym.Env[np.ndarray, Any]) -> None:
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    for decided in itertools.product([2, 3, 4], repeat=3):  # at the last layer the rest costs nothing
        scores = np.array(DistanceIndicator()(problem, decided, [2, 3, 4]))
        fits = np.array([problem.fits((*decided, b)) for b in (2, 3, 4)])
        np.testing.assert_allclose(scores, np.where(fits, -problem.distances[3], -np.inf))
    assert (np.diff(problem.distances, axis=1) <= 0).all()
