"""The Gymnasium environments and their ids."""

from adrl_gym.envs.mixed_precision import PREVIOUS_ACTION, MixedPrecisionQuantEnv
from adrl_gym.envs.registration import register_envs

__all__ = ["PREVIOUS_ACTION", "MixedPrecisionQuantEnv", "register_envs"]
