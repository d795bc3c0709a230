"""The ids of environments to search in."""

import importlib

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from adrl_gym.errors import AdrlGymError

DEFAULT_ID = "adrl_gym/ResNet20-Cifar10-v0"
GENERIC_ID = "adrl_gym/MixedPrecisionQuant-v0"


def spec_of(env_id: str) -> EnvSpec:
    """The specification of a quantization environment; of ``module:id``, the module is imported.

    Raises:
        AdrlGymError: there is no such environment, or it is of another kind; says which there are.
    """
    module, _, name = env_id.rpartition(":")
    if module.startswith("."):
        raise AdrlGymError(
            f"env_id {env_id} begins with a dot: give the whole name of the module, e.g. my_package.module:id",
            parameter="env_id",
        )
    entry_point = gym.spec(GENERIC_ID).entry_point
    try:
        if module:
            importlib.import_module(module)
        spec = gym.spec(name)
        if spec.entry_point == entry_point:
            return spec
        problem = f"{env_id} is no quantization environment"
    except (gym.error.Error, ModuleNotFoundError) as error:
        problem = f"unknown environment {env_id} ({error})"
    known = sorted(known for known, spec in gym.registry.items() if spec.entry_point == entry_point)
    raise AdrlGymError(f"{problem}; choose one of {', '.join(known)}, or module:id of your own", parameter="env_id")
