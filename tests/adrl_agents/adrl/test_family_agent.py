"""ADRL on a family: it learns what carries over, its critic chooses, and a search starts from its answer."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from torch import nn

from adrl_agents import ADRL, HAQ
from adrl_agents.adrl import FamilyADRL, answer_of_file, greedy_bits, load_policy, policy_answer
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.envs import FAMILY_ID, Decision, MixedPrecisionQuantFamilyEnv
from families import chain_problem

BUDGETS = (0.05, 0.0625)


@pytest.fixture(scope="module")
def problems() -> list[QuantProblem]:
    return [chain_problem(0), chain_problem(1, (6, 4, 8, 4))]


def family(problems: list[QuantProblem], decision: Decision) -> gym.Env[np.ndarray, Any]:
    return gym.make(FAMILY_ID, problems=problems, budgets=BUDGETS, decision=decision)


def misled(problems: list[QuantProblem]) -> MixedPrecisionQuantFamilyEnv:
    """Return a family whose tables hold a fiftieth of the first layer's costs: what there is to learn carries over."""
    env = MixedPrecisionQuantFamilyEnv(problems, (0.1,), decision="offset")
    for place in range(len(problems)):
        costs = env.member(place, 0.1).table.costs.copy()  # (n, widths)
        costs[0] /= 50
        env._costs[place] = costs
    env._members.clear()
    return env


def test_a_trained_policy_beats_its_untrained_self_on_a_network_it_has_not_seen(problems: list[QuantProblem]) -> None:
    unseen = misled([chain_problem(7, (5, 7, 5))]).member(0, 0.1)

    def earned() -> float:
        return unseen.reward(unseen.measure(greedy_bits(agent, unseen, "offset")))

    agent = FamilyADRL(env=misled(problems), seed=0, warmup_episodes=20, sigma=0.25, actor_learning_rate=1e-3)
    assert earned() == 0
    agent.learn(160 * 4)
    assert earned() > 0.3


def test_the_critic_chooses_among_candidates(problems: list[QuantProblem], tmp_path: Path) -> None:
    agent = FamilyADRL(env=family(problems, "offset"), k=3, seed=0, warmup_episodes=2).learn(40)
    observation, _ = problems_env(problems, "offset").reset(seed=1)
    seen = torch.as_tensor(observation)[None]
    candidates = agent.actor.candidates(seen).detach()  # (1, 3, 1)
    assert candidates[0, 0, 0] < candidates[0, 1, 0] < candidates[0, 2, 0]
    with torch.no_grad():
        values = [agent.critic.q1_forward(seen, candidate[None]).item() for candidate in candidates[0]]
    action, _ = agent.predict(observation, deterministic=True)
    assert action[0] == pytest.approx(float(candidates[0, int(np.argmax(values)), 0]), abs=1e-6)
    agent.save(tmp_path / "policy.zip")
    assert (tmp_path / "policy.zip").stat().st_size < 1_000_000
    again, _ = load_policy(tmp_path / "policy.zip").predict(observation, deterministic=True)
    np.testing.assert_array_equal(action, again)


def test_layers_share_half_of_the_exploration(problems: list[QuantProblem]) -> None:
    agent = FamilyADRL(env=family(problems[:1], "correction"), seed=0, warmup_episodes=300).learn(300 * 4)
    assert agent.replay_buffer is not None
    tried = agent.replay_buffer.actions[:1200, 0].reshape(300, 4, 3)  # (episodes, layers, A)
    alike = [np.corrcoef(tried[:, 0, part], tried[:, 3, part])[0, 1] for part in range(3)]
    assert np.mean(alike) == pytest.approx(0.5, abs=0.12)


def problems_env(problems: list[QuantProblem], decision: Decision) -> MixedPrecisionQuantFamilyEnv:
    return MixedPrecisionQuantFamilyEnv(problems, BUDGETS, decision=decision)


def test_an_untrained_correction_is_the_knapsack(problems: list[QuantProblem]) -> None:
    for decision in ("offset", "correction"):
        env = family(problems, decision)
        agent = FamilyADRL(env=env, seed=0)
        member = problems_env(problems, decision).member(1, 0.0625)
        assert greedy_bits(agent, member, decision) == member.answer


def test_the_value_of_every_action_is_the_reward_of_its_episode(problems: list[QuantProblem]) -> None:
    agent = FamilyADRL(env=family(problems[:1], "offset"), seed=0, warmup_episodes=1).learn(12)
    assert agent.replay_buffer is not None
    samples = agent.replay_buffer.sample(64)
    assert (samples.dones == 1).all()
    stored = agent.replay_buffer.rewards[:12, 0].reshape(3, 4)  # (episodes, layers)
    assert (stored == stored[:, :1]).all()
    assert set(samples.rewards[:, 0].tolist()) <= set(stored.ravel().tolist())


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_agents_of_stable_baselines_train_on_the_family(problems: list[QuantProblem], algorithm: Any) -> None:
    settings = {"n_steps": 16, "batch_size": 8} if algorithm is PPO else {"learning_starts": 8, "buffer_size": 100}
    agent = algorithm("MlpPolicy", family(problems, "correction"), seed=0, device="cpu", **settings).learn(24)
    member = problems_env(problems, "correction").member(0, 0.05)
    assert len(greedy_bits(agent, member, "correction")) == 4


@pytest.fixture
def policy(problems: list[QuantProblem], tmp_path: Path) -> Path:
    """A policy that adds bits to the first layers, and so does not answer as the knapsack."""
    agent = FamilyADRL(env=family(problems, "offset"), seed=0)
    with torch.no_grad():
        last = agent.actor.mu[-2]
        assert isinstance(last, nn.Linear)
        last.bias.fill_(0.55)
    agent.save(tmp_path / "policy.zip")
    return tmp_path / "policy.zip"


def search_env(problem: QuantProblem) -> gym.Env[np.ndarray, Any]:
    images = problem.splits.search.images
    env_id = "adrl_gym/MixedPrecisionQuant-v0"
    return gym.make(env_id, network=problem.network, data=[(images, images[:, 0, 0, 0].long() * 0)], budget=0.05,
                    quantizer="linear")  # fmt: skip


def test_a_search_begins_with_the_policy_s_answer(policy: Path) -> None:
    env = search_env(chain_problem(3))
    problem = env.unwrapped.problem  # type: ignore[attr-defined]
    answer = answer_of_file(policy, problem)
    family_env = MixedPrecisionQuantFamilyEnv([problem])
    assert answer != family_env.member(0, 0.05).answer
    agent = ADRL(env=env, seed=0)
    agent.start_from(lambda of: policy_answer(load_policy(policy), of))
    tried: list[tuple[int, ...]] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> bool:
        tried.extend(info["bits"] for info in local["infos"] if "bits" in info)
        return True

    agent.learn(4 * 3, callback=remember)
    assert tried[0] == answer
    assert tried[1] != answer


def test_what_a_policy_does_not_fit_is_refused(problems: list[QuantProblem], policy: Path, tmp_path: Path) -> None:
    narrow = QuantProblem(problems[0].network, problems[0].splits, quantizer="linear", bits=(2, 4), budget=0.1)
    with pytest.raises(AdrlGymError, match=r"another range of bits than \(2, 4\)"):
        answer_of_file(policy, narrow)
    with pytest.raises(AdrlGymError, match="there is no policy"):
        load_policy(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(AdrlGymError, match="is no policy"):
        load_policy(tmp_path / "text.zip")
    env = search_env(problems[0])
    HAQ(env=env, seed=0).save(tmp_path / "haq.zip")
    with pytest.raises(AdrlGymError, match=r"give a policy\.zip"):
        load_policy(tmp_path / "haq.zip")
    with pytest.raises(AdrlGymError, match="candidate for each bit-width"):
        ADRL(env=env, k=4).start_from(lambda _: (1, 1, 1, 1))
    with pytest.raises(AdrlGymError, match="for one network, take ADRL"):
        FamilyADRL(env=env)
