"""The environment ids and their keyword arguments."""

from typing import Any

import gymnasium as gym

ENTRY_POINT = "adrl_gym.envs.mixed_precision:MixedPrecisionQuantEnv"
IDS: dict[str, dict[str, Any]] = {
    "adrl_gym/MixedPrecisionQuant-v0": {},
    "MixedPrecisionQuant-v0": {},
    "adrl_gym/CifarNet-Cifar10-v0": {"network": "cifarnet"},
    "adrl_gym/ResNet20-Cifar10-v0": {"network": "resnet20"},
    "adrl_gym/AlexNet-ImageNet-v0": {"network": "alexnet", "data": "imagenet"},
    "adrl_gym/ResNet50-ImageNet-v0": {"network": "resnet50", "data": "imagenet"},
}
FAMILY_ID = "adrl_gym/MixedPrecisionQuantFamily-v0"
_FAMILY_ENTRY_POINT = "adrl_gym.envs.family:MixedPrecisionQuantFamilyEnv"


def register_envs() -> None:
    """Make every id known to ``gymnasium.make``; once, so that a second call says nothing."""
    for env_id, keywords in IDS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=ENTRY_POINT, kwargs=keywords)
    if FAMILY_ID not in gym.registry:
        gym.register(FAMILY_ID, entry_point=_FAMILY_ENTRY_POINT)
