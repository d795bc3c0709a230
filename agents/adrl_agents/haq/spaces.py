"""Refuse environments in which an action or an observation no longer means what the agent takes it for."""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import MaxAndSkipObservation
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor

from adrl_gym import AdrlGymError

# One of their steps is several of the environment's, so that an action decides several layers.
_SKIPPING = (MaxAndSkipObservation, MaxAndSkipEnv)


def check_spaces(env: VecEnv | gym.Env[Any, Any], agent: str) -> None:
    """Refuse wrappers that change actions or observations.

    HAQ and ADRL read bit-widths from actions and layers from observations, in the environment's own units.

    Args:
        env: one environment, or as Stable-Baselines3 wraps it.
        agent: name of the agent, for the message.

    Raises:
        AdrlGymError: names the wrapper.
    """
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, VecMonitor):
            raise _refusal(type(env).__name__, agent)
        env = env.venv
    for one in env.envs if isinstance(env, DummyVecEnv) else [env] if isinstance(env, gym.Env) else []:
        own, wrappers = one.unwrapped, []
        while isinstance(one, gym.Wrapper):
            wrappers.append(one)
            one = one.env
        for wrapper in reversed(wrappers):  # the innermost is the cause
            changes = isinstance(wrapper, (gym.ActionWrapper, gym.ObservationWrapper, *_SKIPPING))
            spaces = wrapper.action_space, wrapper.observation_space
            if changes or spaces != (own.action_space, own.observation_space):
                raise _refusal(type(wrapper).__name__, agent)


def _refusal(wrapper: str, agent: str) -> AdrlGymError:
    return AdrlGymError(
        f"{wrapper} changes the environment's actions or observations, and {agent} needs them as they are: leave the "
        "wrapper out"
    )
