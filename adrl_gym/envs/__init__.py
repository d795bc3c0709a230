"""The Gymnasium environments and their ids."""

from adrl_gym.envs.access import problem_of
from adrl_gym.envs.limits import check_time_limit
from adrl_gym.envs.mixed_precision import PREVIOUS_ACTION, ActionType, MixedPrecisionQuantEnv
from adrl_gym.envs.registration import register_envs

__all__ = ["PREVIOUS_ACTION", "ActionType", "MixedPrecisionQuantEnv", "check_time_limit", "problem_of", "register_envs"]
