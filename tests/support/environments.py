"""Small environments, episodes in them, and what an agent has stored of them."""

from typing import Any

import gymnasium as gym
import numpy as np
from torch import Tensor, nn

from adrl_agents.haq import HAQ

Batches = list[tuple[Tensor, Tensor]]


def make_env(network: nn.Module, batches: Batches, **keywords: Any) -> gym.Env[np.ndarray, Any]:
    """Make the generic environment with a quick quantizer and a tight budget."""
    options = {"budget": 0.1, "quantizer": "linear", **keywords}
    return gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=batches, **options)


def play(env: gym.Env[np.ndarray, Any], actions: list[float]) -> tuple[list[np.ndarray], list[float], dict[str, Any]]:
    """Play one episode; return its observations, its rewards and the last info."""
    observations, rewards = [env.reset(seed=0)[0]], []
    info: dict[str, Any] = {}
    for index, action in enumerate(actions):
        observation, reward, terminated, truncated, info = env.step(np.array([action], np.float32))
        assert terminated == (index == len(actions) - 1)
        assert not truncated
        observations.append(observation)
        rewards.append(float(reward))
    return observations, rewards, info


def actions_stored(agent: HAQ) -> np.ndarray:
    """Return the actions ``(steps, 1)`` in an agent's replay buffer."""
    assert agent.replay_buffer is not None
    return agent.replay_buffer.actions[: agent.replay_buffer.pos, 0]
