"""The one door to torchvision."""

from importlib import import_module
from types import ModuleType

import torch

from adrl_gym.errors import AdrlGymError


def import_torchvision() -> ModuleType:
    """The module ``torchvision``, imported when it is first needed.

    A torchvision built for another torch fails in many ways while it is imported (``operator
    torchvision::nms does not exist``, an undefined symbol, a half-made module), so any exception counts.

    Raises:
        AdrlGymError: torchvision is missing or does not belong to the torch that is installed.
    """
    try:
        return import_module("torchvision")
    except Exception as error:
        raise AdrlGymError(
            f"torchvision cannot be imported with torch {torch.__version__} ({type(error).__name__}: "
            f"{error}). Install two versions that belong together: pip install --upgrade torch torchvision"
        ) from error
