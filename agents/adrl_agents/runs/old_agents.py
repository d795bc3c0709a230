"""Agents saved by version 0.1: modules that have another name since.

Their ``agent.zip`` holds pickles, which name the modules of their classes. To be removed one release later.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator

MODULES = {"adrl_agents.snapshot": "adrl_agents.runs.checkpoint"}


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
