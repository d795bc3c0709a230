"""Stable-Baselines3's own agents, untouched, with what a search of some thousand steps asks of their settings."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise

from adrl_gym.envs import problem_of

_BUFFER = 100_000  # transitions: more than a search makes
PPO_EPISODES = 8  # of a rollout; SB3's 2,048 steps would be 102 episodes of ResNet20
_PPO_BATCH_EPISODES = 2
_DQN_TARGET_EPISODES = 10  # between two copies to the target network; SB3's 10,000 steps would be 500 of them


def _once_an_episode(_: int) -> dict[str, Any]:
    return {"train_freq": (1, "episode"), "gradient_steps": -1, "buffer_size": _BUFFER}


def _noisy(layers: int) -> dict[str, Any]:
    return _once_an_episode(layers) | {"action_noise": NormalActionNoise(np.zeros(1), np.full(1, 0.1))}


def _ppo(layers: int) -> dict[str, Any]:
    return {"n_steps": PPO_EPISODES * layers, "batch_size": _PPO_BATCH_EPISODES * layers}


def _dqn(layers: int) -> dict[str, Any]:
    return _once_an_episode(layers) | {"target_update_interval": _DQN_TARGET_EPISODES * layers}


#: Name -> algorithm, and its settings for a number of searched layers.
SB3_ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], Callable[[int], dict[str, Any]]]] = {
    "ddpg": (DDPG, _noisy),
    "td3": (TD3, _noisy),
    "sac": (SAC, _once_an_episode),
    "ppo": (PPO, _ppo),
    "dqn": (DQN, _dqn),
}


def make_sb3_agent(algo: str, env: gym.Env[Any, Any], seed: int) -> BaseAlgorithm:
    """Return an agent as SB3's documentation has it; off-policy ones are trained once an episode, like HAQ.

    Args:
        algo: a key of ``SB3_ALGORITHMS``. ``ddpg`` and ``td3`` explore with normal noise of 0.1.
        env: of this package; ``dqn`` takes discrete actions.
        seed: of everything random.
    """
    algorithm, settings = SB3_ALGORITHMS[algo]
    layers = len(problem_of(env).searchable)
    return algorithm(
        "MlpPolicy", env, seed=seed, device="cpu", **settings(layers)
    )  # small layers: a GPU would be slower
