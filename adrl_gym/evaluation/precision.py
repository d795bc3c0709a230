"""The precision that candidates are profiled in."""

import time
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from adrl_gym.errors import AdrlGymError

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def check_native(precision: str, devices: Sequence[torch.device]) -> None:
    """Refuse a precision that would be slower than float32 here: a processor without it makes it up in software.

    Measured with a convolution rather than read from the processor's flags, which PyTorch may or may not make use of.

    Raises:
        AdrlGymError: unknown precision, or one that is no faster.
    """
    if precision not in DTYPES:
        raise AdrlGymError(f"unknown precision {precision!r}: choose one of {', '.join(DTYPES)}")
    for device in devices:
        ratio = _seconds(DTYPES[precision], device) / _seconds(torch.float32, device)
        if ratio > 1:
            raise AdrlGymError(
                f"{precision} takes {ratio:.1f} times as long as float32 on {device}, which lacks it: choose float32"
            )


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    """The least of five times that a convolution of ResNet20's size takes."""
    x = torch.ones(50, 64, 8, 8, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            _finish(F.conv2d(x, weight, padding=1))
            times.append(time.perf_counter() - start)
    return min(times[1:])


def _finish(y: Tensor) -> None:
    """Wait for it: CUDA's calls return before they are done."""
    y[0, 0, 0, 0].item()
