"""Freed memory goes back to the system."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from adrl_gym.devices import release_freed_memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])  # pages


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux alone keeps freed memory so")
def test_what_a_thread_freed_goes_back() -> None:
    kept: list[torch.Tensor] = []

    def use() -> None:
        blocks = [torch.ones(25_000) for _ in range(1000)]  # 100 MB in blocks that malloc takes from its heap
        kept.extend(blocks[::50])  # and a hole between each of those that stay

    with ThreadPoolExecutor(1) as pool:
        pool.submit(use).result()
    before = resident()
    release_freed_memory()
    assert before - resident() > 10_000, "less than 40 MB went back"
