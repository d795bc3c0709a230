"""Searches of the environment ``tiny_env:Tiny-v0``, for tests that use the fixture ``scripts``."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adrl_agents.options import SearchOptions


def search(folder: Path, **options: Any) -> Path:
    """Run ``agents/search.py`` with few images and episodes; returns the run's folder."""
    importlib.import_module("adrl_agents.cli.search").main(
        SearchOptions(
            **{
                "env_id": "tiny_env:Tiny-v0",
                "method": "random",
                "budget": 0.1,
                "images": 40,
                "episodes": 3,
                "output": folder,
                **options,
            }
        )
    )
    return folder


def logits(network: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits ``(N, 10)`` of the environment's images."""
    with torch.inference_mode():
        return network(importlib.import_module("tiny_env").images)  # (N, 10)
