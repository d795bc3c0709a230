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
TURNS = 10  # of each precision, of which the fastest counts


def check_native(precision: str, devices: Sequence[torch.device]) -> None:
    """Refuse a precision that would be slower than float32 here: a processor without it makes it up in software.

    Measured with a convolution rather than read from the processor's flags, which PyTorch may or may not make use of.

    Raises:
        AdrlGymError: unknown precision, or one that is no faster.
    """
    if precision not in DTYPES:
        raise AdrlGymError(f"unknown precision {precision!r}: choose one of {', '.join(DTYPES)}")
    for device in devices:
        lower, full = _seconds([DTYPES[precision], torch.float32], device)
        if lower > full:
            raise AdrlGymError(
                f"{precision} takes {lower / full:.1f} times as long as float32 on {device}, which lacks it: "
                "choose float32"
            )


def _seconds(dtypes: Sequence[torch.dtype], device: torch.device) -> list[float]:
    """The least time that a convolution of ResNet20's size takes in each type.

    They take turns, so that what else the machine does slows no type alone, and are on one thread: on more, where other
    processes have the cores, a convolution is mostly waiting.
    """
    x = torch.ones(50, 64, 8, 8, device=device).to(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, device=device).to(memory_format=torch.channels_last)
    operands = [(x.to(dtype), weight.to(dtype)) for dtype in dtypes]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            turns = [[_once(*pair) for pair in operands] for _ in range(1 + TURNS)]
    finally:
        torch.set_num_threads(threads)
    return [min(times) for times in zip(*turns[1:], strict=True)]  # the first turn sets up


def _once(x: Tensor, weight: Tensor) -> float:
    """Seconds that it takes: images ``(B, C, H, W)``, weight ``(O, C, k, k)``."""
    start = time.perf_counter()
    _finish(F.conv2d(x, weight, padding=1))
    return time.perf_counter() - start


def _finish(y: Tensor) -> None:
    """Wait for it: CUDA's calls return before they are done."""
    y[0, 0, 0, 0].item()
