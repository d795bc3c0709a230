"""Refuse environments in which an action or an observation no longer means what the agent takes it for."""

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor

from adrl_gym import AdrlGymError


def check_spaces(env: VecEnv, agent: str) -> None:
    """Refuse wrappers that change actions or observations.

    HAQ and ADRL read bit-widths from actions and layers from observations, in the environment's own units.

    Args:
        env: as Stable-Baselines3 wraps it.
        agent: name of the agent, for the message.

    Raises:
        AdrlGymError: names the wrapper.
    """
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, VecMonitor):
            raise _refusal(type(env).__name__, agent)
        env = env.venv
    if not isinstance(env, DummyVecEnv):
        return
    for one in env.envs:
        own, wrappers = one.unwrapped, []
        while isinstance(one, gym.Wrapper):
            wrappers.append(one)
            one = one.env
        for wrapper in reversed(wrappers):  # the innermost is the cause
            changes = isinstance(wrapper, gym.ActionWrapper | gym.ObservationWrapper)
            spaces = wrapper.action_space, wrapper.observation_space
            if changes or spaces != (own.action_space, own.observation_space):
                raise _refusal(type(wrapper).__name__, agent)


def _refusal(wrapper: str, agent: str) -> AdrlGymError:
    return AdrlGymError(
        f"{wrapper} changes the environment's actions or observations, and {agent} needs them as they are: leave the "
        "wrapper out"
    )
