"""ADRL: what it finds, its candidates, saving, prediction and bad options."""

import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

from adrl_agents import ADRL, HAQ
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import bits_from_action
from environments import Batches, actions_stored, make_env


def test_adrl_with_one_candidate_is_haq_action_for_action(tiny: nn.Module, batches: Batches) -> None:
    haq = HAQ(env=make_env(tiny, batches, bits=(2, 4)), seed=3, warmup_episodes=4).learn(60)
    adrl = ADRL(env=make_env(tiny, batches, bits=(2, 4)), seed=3, warmup_episodes=4, k=1).learn(60)
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
    env = make_env(tiny, batches, bits=(2, 4))
    best = best_by_exhaustion(env.unwrapped.problem)  # type: ignore[attr-defined]
    seen: list[float] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.extend(info["accuracy"] for info in local["infos"] if "bits" in info)
        return True

    ADRL(env=env, seed=0, k=2, context=context, warmup_episodes=5).learn(4 * 40, callback=remember)
    assert max(seen) == best


@pytest.mark.parametrize("seed", [0, 1])
def test_profiling_around_the_best_leads_to_the_least_divergence(tiny: nn.Module, batches: Batches, seed: int) -> None:
    env = make_env(tiny, batches, bits=(2, 4))
    problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    fitting = [b for b in itertools.product(range(2, 5), repeat=4) if problem.project(b) == b]
    seen: list[float] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.extend(info["kl"] for info in local["infos"] if "bits" in info)
        return True

    ADRL(env=env, seed=seed, k=3, context="best", profile_images=100).learn(4 * 10, callback=remember)
    assert min(seen) == min(problem.evaluate(b).kl for b in fitting)
    assert min(seen) < seen[0]  # integer programming on the layers alone does not find it


@pytest.mark.parametrize(
    "options", [{"indicator": "distance"}, {"score": "accuracy"}, {"score": "agreement"}, {"k": 8}]
)
def test_every_option_learns(env: gym.Env[np.ndarray, Any], options: dict[str, Any]) -> None:
    agent = ADRL(env=env, seed=0, warmup_episodes=1, **options).learn(20)
    assert np.isfinite(actions_stored(agent)).all()


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


@pytest.mark.parametrize("options", [{"context": "completed"}, {"context": "best"}, {"indicator": "distance"}])
def test_save_load_same_prediction(tiny: nn.Module, batches: Batches, tmp_path: Path, options: dict[str, Any]) -> None:
    env = make_env(tiny, batches, bits=(2, 4))
    agent = ADRL(env=env, seed=0, warmup_episodes=2, **options).learn(40)
    agent.save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").stat().st_size < 8_000_000  # networks and optimizers, no images
    loaded = ADRL.load(tmp_path / "agent.zip", env=make_env(tiny, batches, bits=(2, 4)))
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
    envs = [make_env(tiny, batches, bits=(2, 4)) for _ in range(2)]
    first, second = (ADRL(env=env, seed=7, warmup_episodes=2).learn(40) for env in envs)
    np.testing.assert_array_equal(actions_stored(first), actions_stored(second))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"indicator": "crystal ball"}, "crystal ball"),
        ({"context": "none"}, "unknown context"),
        ({"score": "size"}, "unknown score"),
        ({"completion": "random"}, "unknown completion"),
        ({"profile_images": 0}, "images must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(env: gym.Env[np.ndarray, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        ADRL(env=env, **options)


def test_another_environment_is_refused() -> None:
    with pytest.raises(AdrlGymError, match="adrl_gym"):
        HAQ(env=gym.make("Pendulum-v1"))
