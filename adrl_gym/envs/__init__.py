"""The Gymnasium environments and their ids."""

from adrl_gym.envs.access import problem_of
from adrl_gym.envs.decisions import CORRECTION_REACH, TRUST, Decision, Decisions
from adrl_gym.envs.family import FAMILY_BUDGETS, TABLE_IMAGES, MixedPrecisionQuantFamilyEnv
from adrl_gym.envs.limits import check_time_limit
from adrl_gym.envs.member import FamilyMember
from adrl_gym.envs.mixed_precision import PREVIOUS_ACTION, ActionType, MixedPrecisionQuantEnv
from adrl_gym.envs.registration import FAMILY_ID, register_envs

__all__ = [
    "CORRECTION_REACH",
    "FAMILY_BUDGETS",
    "FAMILY_ID",
    "PREVIOUS_ACTION",
    "TABLE_IMAGES",
    "TRUST",
    "ActionType",
    "Decision",
    "Decisions",
    "FamilyMember",
    "MixedPrecisionQuantEnv",
    "MixedPrecisionQuantFamilyEnv",
    "check_time_limit",
    "problem_of",
    "register_envs",
]
