"""A trained agent from the folder of its run, and the bits that it chooses."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from adrl_agents.registry import AGENTS
from adrl_agents.runs import DAMAGED, read_agent
from adrl_gym.bits import action_from_bits, bits_from_action
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError


def load_trained(path: Path, name: str, env: gym.Env[Any, Any]) -> BaseAlgorithm | None:
    """Return the agent of a run, or none if it has none.

    Args:
        path: agent.zip. It is unpickled, which can run code: it should be of a run that one trusts.
        name: of the agent.
        env: for agents that measure before they choose.

    Raises:
        AdrlGymError: the file is damaged.
    """
    spec = AGENTS.get(name)
    if spec is None or spec.algorithm is None or not path.exists():
        return None
    try:
        return read_agent(path, spec.algorithm, env if spec.measures else None, "cpu")
    except DAMAGED as error:
        raise AdrlGymError(f"cannot load the agent {path} ({error}): remove it, to go on without it") from error


def decide(agent: BaseAlgorithm, env: gym.Env[Any, Any]) -> tuple[int, ...]:
    """Return the bits that the agent, without exploring, gives the searched layers; they are not measured.

    Args:
        agent: of continuous or of discrete actions.
        env: of continuous actions.
    """
    problem = problem_of(env)
    discrete, bits = isinstance(agent.action_space, spaces.Discrete), []
    observation, _ = env.reset()
    while True:
        action, _ = agent.predict(observation, deterministic=True)
        if discrete:
            bits.append(problem.min_bits + int(action))
            action = np.array([action_from_bits(bits[-1], problem.min_bits, problem.max_bits)], np.float32)  # (1,)
        else:
            bits.append(bits_from_action(float(action[0]), problem.min_bits, problem.max_bits))
        if len(bits) == len(problem.searchable):
            return tuple(bits)
        observation, _, _, _, _ = env.step(action)
