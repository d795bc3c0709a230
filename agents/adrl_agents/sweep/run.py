"""A sweep from options to files."""

import contextlib
import dataclasses
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from rich.console import Console

from adrl_agents import interrupts
from adrl_agents.runs import Row, png, write_rows
from adrl_agents.search import make_env
from adrl_agents.sweep.front import draw_front
from adrl_agents.sweep.on_ray import Driver, perform_on_ray
from adrl_agents.sweep.options import SweepOptions
from adrl_agents.sweep.search_task import SearchTask, perform
from adrl_agents.sweep.table import printed_table, sweep_rows
from adrl_gym.costs import limits_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole
from adrl_gym.progress import bar

TABLE, PICTURE = "sweep.csv", "pareto.png"
Outcomes = Generator[tuple[str, str | None], None, None]  # name of a search, and what is wrong if it failed
_WIDE = 10_000  # characters


def run_sweep(options: SweepOptions) -> list[Row]:
    """Run every search that is not finished, write the table after each, and the picture at the end.

    Args:
        options: of the sweep.

    Returns:
        The rows of the table.

    Raises:
        AdrlGymError: bad input, or searches that failed; all others are done.
        KeyboardInterrupt: finished searches are in the folder.
    """
    options.check()
    folder, tasks = options.folder, options.tasks()
    left = [task for task in tasks if task.result(folder) is None]
    failed: dict[str, str] = {}
    outcomes = _one_by_one([], folder)
    if left:
        tightest = min((task.options for task in left), key=lambda one: min(limits_of(one.budget).values()))
        env, _ = make_env(
            dataclasses.replace(tightest, cache="none", workers=None)
        )  # bad input is told before any work
        if options.ray is None:
            outcomes = _one_by_one(left, folder)
        else:
            driver = Driver.here(env)
            outcomes = perform_on_ray([(task, driver) for task in left], folder, options.ray, options.gpus)
        del env
    try:
        with contextlib.closing(outcomes), bar("sweep", len(tasks), "searches", len(tasks) - len(left)) as shown:
            for name, error in outcomes:
                failed |= {} if error is None else {name: error}
                _write_table(tasks, folder)
                shown.update()
                interrupts.raise_if_pressed()
    except KeyboardInterrupt:
        print(f"finished searches are in {folder}; the same command goes on", file=sys.stderr)
        raise
    rows = _write_table(tasks, folder)
    if rows:
        write_whole(folder / PICTURE, png(draw_front(rows, folder.name)))
        table, console = printed_table(rows), Console(file=sys.stdout, highlight=False)
        console.width = max(console.width, Console(width=_WIDE).measure(table).maximum)
        console.print(table)
        print(f"written to {folder / TABLE} and {folder / PICTURE}")
    if failed:
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise AdrlGymError(f"{len(failed)} of {len(tasks)} searches failed, all others are done: {told}")
    return rows


def _one_by_one(tasks: Sequence[SearchTask], folder: Path) -> Outcomes:
    """Run searches in this process; yield the name of each, and what is wrong if it failed."""
    for task in tasks:
        error = None
        try:
            perform(task, folder)
        except AdrlGymError as raised:
            error = str(raised)
        yield task.name, error


def _write_table(tasks: Sequence[SearchTask], folder: Path) -> list[Row]:
    rows = sweep_rows(tasks, folder)
    if rows:
        write_rows(folder / TABLE, rows)
    return rows
