"""Stable-Baselines3's own agents, untouched, with what a search of some thousand steps asks of their settings."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise

from adrl_agents.options import ActionType, Algo
from adrl_gym.envs import problem_of

BUFFER = 100_000  # transitions: more than a search makes
PPO_EPISODES = 8  # of a rollout; SB3's 2,048 steps would be 102 episodes of ResNet20
PPO_BATCH_EPISODES = 2
DQN_TARGET_EPISODES = 10  # between two copies to the target network; SB3's 10,000 steps would be 500 of them

# DQN knows discrete actions alone.
ACTION_TYPES: dict[Algo, ActionType] = {
    "ddpg": "continuous",
    "td3": "continuous",
    "sac": "continuous",
    "ppo": "continuous",
    "dqn": "discrete",
}


def make_sb3_agent(algo: Algo, env: gym.Env[Any, Any], seed: int) -> BaseAlgorithm:
    """An agent as SB3's documentation has it; off-policy ones are trained once an episode, like HAQ.

    Args:
        algo: which one. ``ddpg`` and ``td3`` explore with normal noise of 0.1 in actions that span [-1, 1].
        env: of this package, of the algorithm's ``ACTION_TYPES``.
        seed: of everything random.
    """
    layers = len(problem_of(env).searchable)
    once_an_episode = {"train_freq": (1, "episode"), "gradient_steps": -1, "buffer_size": BUFFER}
    noise = {"action_noise": NormalActionNoise(np.zeros(1), np.full(1, 0.1))}
    make: dict[Algo, tuple[Callable[..., BaseAlgorithm], dict[str, Any]]] = {
        "ddpg": (DDPG, once_an_episode | noise),
        "td3": (TD3, once_an_episode | noise),
        "sac": (SAC, once_an_episode),
        "ppo": (PPO, {"n_steps": PPO_EPISODES * layers, "batch_size": PPO_BATCH_EPISODES * layers}),
        "dqn": (DQN, once_an_episode | {"target_update_interval": DQN_TARGET_EPISODES * layers}),
    }
    algorithm, keywords = make[algo]
    return algorithm("MlpPolicy", env, seed=seed, device="cpu", **keywords)  # small layers: a GPU would be slower
