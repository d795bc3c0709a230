"""HAQ: noise, rewards, learning rates."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm
from stable_baselines3.common.callbacks import BaseCallback

from adrl_agents import HAQ
from adrl_agents.haq.noise import truncated_normal


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 1.0), (0.9, 0.3), (-1.0, 0.05), (0.2, 5.0)])
def test_noise_is_the_truncated_normal_distribution(mean: float, sigma: float) -> None:
    torch.manual_seed(0)
    draws = truncated_normal(torch.full((4000,), mean), sigma).numpy()
    assert np.abs(draws).max() <= 1
    expected = truncnorm((-1 - mean) / sigma, (1 - mean) / sigma, mean, sigma)
    assert kstest(draws, expected.cdf).pvalue > 0.001


def test_the_final_reward_is_written_to_the_whole_episode(env: gym.Env[np.ndarray, Any]) -> None:
    agent = HAQ(env=env, seed=0).learn(8)
    assert agent.replay_buffer is not None
    rewards = agent.replay_buffer.rewards[:8, 0]
    assert len(set(rewards[:4])) == 1
    assert len(set(rewards[4:])) == 1
    assert agent.replay_buffer.dones[:8, 0].tolist() == [0, 0, 0, 1] * 2


class Interrupted(BaseCallback):
    """Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def _on_step(self) -> bool:
        if self.num_timesteps == self._steps:
            raise KeyboardInterrupt
        return True


def test_an_interrupted_episode_is_given_up_where_the_next_one_begins_anew(env: gym.Env[np.ndarray, Any]) -> None:
    agent = HAQ(env=env, seed=0)
    with pytest.raises(KeyboardInterrupt):
        agent.learn(8, callback=Interrupted(7))
    agent.learn(4)
    buffer = agent.replay_buffer
    assert buffer is not None
    assert buffer.size() == 8
    assert buffer.dones[:8, 0].tolist() == [0, 0, 0, 1] * 2


def test_rewards_are_sampled_less_their_moving_average(env: gym.Env[np.ndarray, Any]) -> None:
    agent = HAQ(env=env, seed=0).learn(8)
    buffer = agent.replay_buffer
    assert buffer is not None
    buffer.rewards[:] = 5.0
    assert float(buffer.sample(4).rewards.abs().max()) == 0  # the first batch sets the average
    buffer.rewards[:] = 7.0
    assert float(buffer.sample(4).rewards.unique()) == pytest.approx(1.0)  # the average is at 6


def test_noise_decays_after_the_warm_up(env: gym.Env[np.ndarray, Any]) -> None:
    agent = HAQ(env=env, seed=0, warmup_episodes=2, sigma=0.5, sigma_decay=0.9).learn(16)
    assert agent._episode_num == 4
    assert agent.current_sigma == pytest.approx(0.5 * 0.9**2)


def test_both_learning_rates_are_used(env: gym.Env[np.ndarray, Any]) -> None:
    agent = HAQ(env=env, seed=0, warmup_episodes=1).learn(12)
    assert agent.actor.optimizer.param_groups[0]["lr"] == 1e-4
    assert agent.critic.optimizer.param_groups[0]["lr"] == 1e-3
