"""Agents saved by version 0.1: modules and attributes that have another name since.

Their ``agent.zip`` holds pickles, which name the modules of their classes. To be removed one release later.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator

from stable_baselines3.common.base_class import BaseAlgorithm

MODULES = {"adrl_agents.snapshot": "adrl_agents.runs.checkpoint"}
ATTRIBUTES = {"_boldness": "_noise_scale", "_caution": "_confidence"}  # of an agent, and of its indicator


@contextlib.contextmanager
def old_modules() -> Iterator[None]:
    """Let pickles find classes by the modules that they were in."""
    absent = [old for old in MODULES if old not in sys.modules]
    sys.modules.update({old: importlib.import_module(MODULES[old]) for old in absent})
    try:
        yield
    finally:
        for old in absent:
            del sys.modules[old]


def rename_attributes(agent: BaseAlgorithm) -> None:
    """Give the values of an old agent their new names."""
    for holder in (agent, getattr(agent, "indicator", None)):
        values = getattr(holder, "__dict__", {})
        for old, new in ATTRIBUTES.items():
            if old in values:
                values[new] = values.pop(old)
