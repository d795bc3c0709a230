"""Wrappers that would end an episode before its last layer."""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from adrl_gym.errors import AdrlGymError


def check_time_limit(env: gym.Env[Any, Any], layers: int) -> None:
    """Raise ``AdrlGymError`` if a ``TimeLimit`` ends episodes before the last of ``layers`` steps."""
    while isinstance(env, gym.Wrapper):
        limit = getattr(env, "_max_episode_steps", layers) if isinstance(env, TimeLimit) else layers
        if limit < layers:
            raise AdrlGymError(
                f"max_episode_steps must be at least {layers}, got {limit}: an episode has one step for each layer "
                "that is searched, so leave TimeLimit out"
            )
        env = env.env
