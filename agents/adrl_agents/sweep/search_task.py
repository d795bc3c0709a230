"""One search of a sweep: a command of ``adrl-gym`` and its folder, wherever it runs."""

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

from adrl_agents.options import Options
from adrl_agents.postprocess import RefitOptions, refit_run
from adrl_agents.registry import AGENTS
from adrl_agents.runs import LIMITS, RunFolder, SearchResult
from adrl_agents.search import run_search

CACHES = "caches"  # folder beside the runs: a cache of its own for each search, or its work would hang on the others'
REFIT = "refit.json"  # what a refit leaves in the folder of a run


@dataclass(frozen=True)
class SearchTask:
    """One search.

    Attributes:
        name: of its folder.
        agent: a name in ``AGENTS``.
        options: of the search, without its folder.
        refit: whether the network that it finds is refitted.
        threads: of PyTorch.
    """

    name: str
    agent: str
    options: Options
    refit: bool
    threads: int

    def result(self, folder: Path) -> SearchResult | None:
        """Return the result of the search below ``folder``, if nothing of this task is left to do there."""
        path = folder / self.name
        if not (path / "result.json").exists() or (self.refit and not (path / REFIT).exists()):
            return None
        return self.search_result(path)

    def refitted(self, folder: Path) -> dict[str, Any] | None:
        """Return the report of the refit below ``folder``, if it was asked for."""
        return json.loads((folder / self.name / REFIT).read_text()) if self.refit else None

    def search_result(self, path: Path) -> SearchResult | None:
        """Return the finished result in a run's folder.

        Raises:
            AdrlGymError: it is of a search with other options.
        """
        if not (path / "result.json").exists():
            return None
        recorded = self.options.recorded()
        result = RunFolder(path).claim(self.agent, recorded, resume=True)
        if result is None or result.status != "finished":
            return None
        return result if all(result.options.get(name) == recorded.get(name) for name in LIMITS) else None


def perform(task: SearchTask, folder: Path, check: Callable[[gym.Env[Any, Any]], None] = lambda _: None) -> None:
    """Run one search and what follows it; its folder below ``folder`` is then complete.

    A search that was stopped before goes on where it can do so exactly. Where the number of evaluations limits it,
    measuring anything twice would end it sooner, so it begins anew.

    Args:
        task: the search.
        folder: of the sweep.
        check: is called with the environment before the search begins, and raises if it is not as it should be.

    Raises:
        AdrlGymError: bad input.
        KeyboardInterrupt: after the result so far was written.
    """
    path, cache = folder / task.name, folder / CACHES / f"{task.name}.sqlite"
    options = dataclasses.replace(task.options, output=path, cache=str(cache), resume=True)

    def make_search(env: gym.Env[Any, Any]) -> Any:
        check(env)
        return AGENTS[task.agent].make(env, options)

    with _torch_threads(task.threads), contextlib.redirect_stdout(io.StringIO()):
        if task.search_result(path) is None:
            if options.evaluations is not None:
                shutil.rmtree(path, ignore_errors=True)
                _remove(cache)
            run_search(task.agent, options, make_search)
        if task.refit and not (path / REFIT).exists():
            refit_run(
                RefitOptions(run=path, data_root=options.data_root, weights=options.weights, device=options.device)
            )
    _remove(cache)


def _remove(cache: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        cache.with_name(cache.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the caches of other searches are there still
        cache.parent.rmdir()


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
