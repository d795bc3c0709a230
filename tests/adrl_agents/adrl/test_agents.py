"""HAQ and ADRL: what they do, that they learn, and that they come back from disk."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

from adrl_agents import ADRL, HAQ
from adrl_agents.adrl.indicators import DistanceIndicator, ProfilingIndicator, score_table, uniform_rest
from adrl_agents.adrl.policies import CandidateActor
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import bits_from_action
from adrl_gym.evaluation.metrics import SCORES
from adrl_gym.sensitivity.table import SensitivityTable

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def make(network: nn.Module, batches: Batches, **keywords: Any) -> gym.Env[np.ndarray, Any]:
    options = {"budget": 0.1, "quantizer": "linear", "bits": (2, 4), **keywords}
    return gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=batches, **options)


@pytest.fixture
def env(tiny: nn.Module, batches: Batches) -> gym.Env[np.ndarray, Any]:
    return make(tiny, batches)


def actions_stored(agent: HAQ) -> np.ndarray:
    assert agent.replay_buffer is not None
    return agent.replay_buffer.actions[: agent.replay_buffer.pos, 0]


def test_adrl_with_one_candidate_is_haq_action_for_action(tiny: nn.Module, batches: Batches) -> None:
    haq = HAQ(env=make(tiny, batches), seed=3, warmup_episodes=4).learn(60)
    adrl = ADRL(env=make(tiny, batches), seed=3, warmup_episodes=4, k=1).learn(60)
    assert len(actions_stored(haq)) == 60  # 16 of the warm-up, 44 with a learning actor
    np.testing.assert_array_equal(actions_stored(haq), actions_stored(adrl))
    learned = adrl.policy.state_dict()
    assert all(torch.equal(value, learned[name]) for name, value in haq.policy.state_dict().items())


def best_by_exhaustion(problem: QuantProblem) -> float:
    widths = range(problem.min_bits, problem.max_bits + 1)
    fitting = [b for b in itertools.product(widths, repeat=len(problem.layers)) if problem.project(b) == b]
    assert len(fitting) > 10
    return max(problem.evaluate(b).accuracy for b in fitting)


@pytest.mark.parametrize("context", ["single", "completed"])
def test_adrl_finds_the_best_configuration(tiny: nn.Module, batches: Batches, context: Any) -> None:
    # Two candidates for three bit-widths: with more, the indicator sees all of them and always decides the same.
    env = make(tiny, batches)
    best = best_by_exhaustion(env.unwrapped.problem)  # type: ignore[attr-defined]
    seen: list[float] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.extend(info["accuracy"] for info in local["infos"] if "bits" in info)
        return True

    ADRL(env=env, seed=0, k=2, context=context, warmup_episodes=5).learn(4 * 40, callback=remember)
    assert max(seen) == best


@pytest.mark.parametrize("seed", [0, 1])
def test_profiling_around_the_best_leads_to_the_least_divergence(tiny: nn.Module, batches: Batches, seed: int) -> None:
    env = make(tiny, batches)
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    fitting = [b for b in itertools.product(range(2, 5), repeat=4) if problem.project(b) == b]
    seen: list[float] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.extend(info["kl"] for info in local["infos"] if "bits" in info)
        return True

    ADRL(env=env, seed=seed, k=3, context="best").learn(4 * 10, callback=remember)
    assert min(seen) == min(problem.evaluate(b).kl for b in fitting)
    assert min(seen) < seen[0]  # integer programming on the layers alone does not find it


@pytest.mark.parametrize(
    "options", [{"indicator": "distance"}, {"score": "accuracy"}, {"score": "agreement"}, {"k": 8}]
)
def test_every_option_learns(env: gym.Env[np.ndarray, Any], options: dict[str, Any]) -> None:
    agent = ADRL(env=env, seed=0, warmup_episodes=1, **options).learn(20)
    assert np.isfinite(actions_stored(agent)).all()


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
        problem = make(tiny, batches).unwrapped.problem  # type: ignore[attr-defined]
        quick, whole = (ProfilingIndicator(context, score, 300, early) for early in (True, False))  # type: ignore[arg-type]
        whole._alone = quick._table(problem)  # the same one-layer table for both
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
        assert problem.size_ratio(whole) <= problem.budget < problem.size_ratio(larger)
    indicator = ProfilingIndicator("completed", "kl", 300, early_termination=False, completion="uniform")
    expected = [-problem.evaluate(problem.project(uniform_rest(problem, (3, b)))).kl for b in (2, 3, 4)]
    assert indicator(problem, (3,), [2, 3, 4]) == pytest.approx(expected)


def test_without_memoization_the_same_is_found_at_a_higher_cost(tiny: nn.Module, batches: Batches) -> None:
    agents = []
    for memoization in (True, False):
        agent = ADRL(env=make(tiny, batches), seed=0, k=3, profile_images=300, memoization=memoization)
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


def test_candidates_begin_spread_over_the_range(env: gym.Env[np.ndarray, Any]) -> None:
    agent = ADRL(env=env, seed=0, k=3)
    with torch.no_grad():
        proposed = agent.actor.candidates(torch.as_tensor(env.reset()[0])[None])[0, :, 0]  # (k,)
    assert [bits_from_action(float(a), 2, 4) for a in proposed] == [2, 3, 4]
    warm_up = np.array([agent._random_candidates()[:, 0] for _ in range(200)])  # (200, k)
    assert abs(warm_up[:, 1].mean()) < 0.1  # around the middles of their shares, and the range is cut at both ends
    assert warm_up[:, 0].mean() < -0.5
    assert warm_up[:, 2].mean() > 0.5
    assert len(np.unique(warm_up)) == 600


def test_gradients_reach_the_chosen_candidate_alone(env: gym.Env[np.ndarray, Any]) -> None:
    agent = ADRL(env=env, seed=0, k=4)
    agent.actor.scores[:] = torch.tensor([0.0, 1.0, 2.0])
    observation = torch.as_tensor(env.reset()[0])[None]
    candidates = agent.actor.candidates(observation)
    chosen = int((candidates[0, :, 0] - agent.actor(observation)[0, 0]).abs().argmin())
    agent.actor(observation).sum().backward()
    head = agent.actor.mu[-2]
    assert isinstance(head, nn.Linear)
    assert head.bias.grad is not None
    assert head.bias.grad.nonzero().flatten().tolist() == [chosen]


def test_price_of_size_meets_the_budget(env: gym.Env[np.ndarray, Any]) -> None:
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    table = SensitivityTable.of(problem, problem.distances)
    chosen = [int(b) + problem.min_bits for b in table.priced.argmin(1)]
    assert problem.size_ratio(chosen) <= problem.budget
    assert table.knapsack.cost_to_go(()) == pytest.approx(
        sum(problem.distances[i, b - 2] for i, b in enumerate(table.knapsack.complete(())))
    )
    assert problem.project(table.knapsack.complete(())) == table.knapsack.complete(())


@pytest.mark.parametrize("options", [{"context": "completed"}, {"context": "best"}, {"indicator": "distance"}])
def test_save_load_same_prediction(tiny: nn.Module, batches: Batches, tmp_path: Path, options: dict[str, Any]) -> None:
    env = make(tiny, batches)
    agent = ADRL(env=env, seed=0, warmup_episodes=2, **options).learn(40)
    agent.save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").stat().st_size < 8_000_000  # networks and optimizers, no images
    loaded = ADRL.load(tmp_path / "agent.zip", env=make(tiny, batches))
    observation, _ = env.reset()
    for _ in range(4):
        action, _ = agent.predict(observation)
        again, _ = loaded.predict(observation)
        assert action.shape == (1,)
        np.testing.assert_array_equal(action, again)
        observation, *_ = env.step(action)
    loaded.learn(8, reset_num_timesteps=False)
    assert loaded.num_timesteps == 48


def test_predict_works_with_sb3_s_own_evaluation(env: gym.Env[np.ndarray, Any]) -> None:
    agent = ADRL(env=env, seed=0, warmup_episodes=2).learn(20)
    first, _ = evaluate_policy(agent, env, n_eval_episodes=2, warn=False)
    second, _ = evaluate_policy(agent, env, n_eval_episodes=2, warn=False)
    assert first == second


def test_predict_needs_the_episode_in_order_and_an_environment(env: gym.Env[np.ndarray, Any], tmp_path: Path) -> None:
    agent = ADRL(env=env, seed=0)
    env.reset()
    env.step(np.zeros(1, np.float32))
    observation, *_ = env.step(np.zeros(1, np.float32))
    with pytest.raises(AdrlGymError, match="in order"):
        agent.predict(observation)
    agent.save(tmp_path / "agent")
    with pytest.raises(AdrlGymError, match="env=env"):
        ADRL.load(tmp_path / "agent").predict(env.reset()[0])


def test_a_seed_fixes_the_whole_run(tiny: nn.Module, batches: Batches) -> None:
    first, second = (ADRL(env=make(tiny, batches), seed=7, warmup_episodes=2).learn(40) for _ in range(2))
    np.testing.assert_array_equal(actions_stored(first), actions_stored(second))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"indicator": "crystal ball"}, "crystal ball"),
        ({"context": "none"}, "unknown context"),
        ({"score": "size"}, "unknown score"),
        ({"completion": "random"}, "unknown completion"),
        ({"profile_images": 0}, "at least 1 image"),
    ],
)
def test_bad_options_are_refused(env: gym.Env[np.ndarray, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        ADRL(env=env, **options)


def test_another_environment_is_refused() -> None:
    with pytest.raises(AdrlGymError, match="adrl_gym"):
        HAQ(env=gym.make("Pendulum-v1"))


def test_distance_indicator_prefers_near_weights_within_the_budget(env: gym.Env[np.ndarray, Any]) -> None:
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    for decided in itertools.product([2, 3, 4], repeat=3):  # at the last layer the rest costs nothing
        scores = np.array(DistanceIndicator()(problem, decided, [2, 3, 4]))
        fits = np.array([problem.size_ratio((*decided, b)) <= problem.budget for b in (2, 3, 4)])
        np.testing.assert_allclose(scores, np.where(fits, -problem.distances[3], -np.inf))
    assert (np.diff(problem.distances, axis=1) <= 0).all()
