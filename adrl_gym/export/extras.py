"""Packages of the extra ``export``, imported when they are needed."""

from importlib import import_module
from typing import Any

from adrl_gym.errors import AdrlGymError


def import_extra(name: str) -> Any:
    """Return the module ``name``.

    Raises:
        AdrlGymError: it is not installed; says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise AdrlGymError(f'ONNX needs {name}: pip install "adrl-gym[export]"') from error
