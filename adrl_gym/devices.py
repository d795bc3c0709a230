"""The devices that a user may name."""

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
