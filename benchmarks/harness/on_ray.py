"""Searches of a suite as tasks of Ray."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import tyro
from tqdm import tqdm

from adrl_agents.search import make_env
from adrl_agents.sweep import Driver, SearchTask, perform_on_ray
from benchmarks.harness.store import Store
from benchmarks.harness.suites import Run
from benchmarks.reporting.gather import gather

_COMMANDS = {"train_adrl": "adrl", "train_haq": "haq", "train_sb3": "sb3", "search": "search"}  # of the scripts


def run_on_ray(runs: Sequence[Run], store: Store, data_root: Path, address: str, group: str | None) -> dict[str, str]:
    """Run searches and add their rows; those that wait for ADRL's runs begin when all others have ended.

    Args:
        runs: that are not done.
        store: of the suite.
        data_root: folder of the data set, the same on every node.
        address: see ``RayConnection``.
        group: begins the group in Weights & Biases, if the runs are to be logged there.

    Returns:
        Label of each run that failed -> what is wrong.
    """
    left, failed = list(runs), dict[str, str]()
    drivers: dict[tuple[str, str], Driver] = {}
    with tqdm(total=len(left), desc="suite") as bar:
        while ready := [(run, sized) for run in left if (sized := store.sized(run)) is not None]:
            left = [run for run in left if store.sized(run) is None]
            by_name = {sized.name: run for run, sized in ready}
            tasks = [_task(sized, store, data_root, group) for _, sized in ready]
            jobs = [(task, _driver(task, drivers)) for task in tasks]
            for name, error in perform_on_ray(jobs, store.runs, address):
                bar.update()
                if error is not None:
                    failed[by_name[name].label] = error
                gather(store, [by_name[name]])
    return failed | {run.label: "waits for ADRL's runs" for run in left}


def _task(run: Run, store: Store, data_root: Path, group: str | None) -> SearchTask:
    script, *arguments = run.command(data_root, store.runs / run.name)
    if group is not None:
        arguments += ["--track", "--wandb-group", f"{group}-{run.protocol}"]
    command = _COMMANDS[Path(script).stem]
    options = tyro.cli(importlib.import_module(f"adrl_agents.cli.{command}").OPTIONS, args=arguments)
    agent = getattr(options, {"sb3": "algo", "search": "method"}.get(command, ""), command)
    return SearchTask(run.name, agent, options, refit=False, threads=1)


def _driver(task: SearchTask, known: dict[tuple[str, str], Driver]) -> Driver:
    """Return the facts that a worker must share, made once for each network and data set."""
    key = (task.options.env_id, task.options.data)
    if key not in known:
        known[key] = Driver.here(make_env(task.options)[0])
    return known[key]
