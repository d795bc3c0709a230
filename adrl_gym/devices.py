"""The devices that a user may name."""

import ctypes
import sys

import torch

from adrl_gym.errors import AdrlGymError


def check_device(device: str | torch.device) -> list[torch.device]:
    """``auto`` (every CUDA device, else the CPU), or any torch devices, divided by commas.

    Raises:
        AdrlGymError: tensors cannot be put on one of them.
    """
    if device == "auto":
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())] or [torch.device("cpu")]
    return [_usable(name.strip()) for name in str(device).split(",")]


def _usable(name: str) -> torch.device:
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise AdrlGymError(f"device {name} cannot be used here: choose auto or cpu", parameter="device") from error


def release_freed_memory() -> None:
    """Give freed memory back where the C library keeps it (glibc): a GiB after the gradients of ResNet50.

    glibc holds on to what threads have freed, for each thread apart, and uses little of it again for tensors of other
    sizes. Elsewhere this does nothing.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
