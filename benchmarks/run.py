"""Run a suite of searches, each by its own command line, and gather their results.

    python -m benchmarks.run --suite paper --data-root D
    python -m benchmarks.run --suite comparison --data-root D
    python -m benchmarks.run --suite ablations --data-root D

The searches of a suite are in benchmarks/harness/suites.py. Resumable: a run that has rows in the CSV files of
benchmarks/results, or a finished folder, is not run again, and a killed one goes on where it was. Rows are added after
every run (see benchmarks/reporting/gather.py); several of these commands with different --only may share all folders.
benchmarks/report.py and benchmarks/reporting/figures.py make tables and figures of the files.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from benchmarks.harness.on_ray import run_on_ray
from benchmarks.harness.signals import run_stoppable
from benchmarks.harness.store import Store
from benchmarks.harness.suites import Run, Suite, results_of
from benchmarks.reporting.gather import gather


@dataclass
class Options:
    """Options of a suite."""

    suite: Suite
    """Which searches to run."""
    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    processes: int = 2
    """Searches at a time; each uses one CPU thread."""
    runs: Path = Path("runs/benchmarks")
    """Folder of the runs' folders; runs of the same command are shared between suites."""
    results: Path | None = None
    """Folder of the CSV files; without it benchmarks/results, and for the suite quick runs/quick."""
    only: tuple[str, ...] = ()
    """Only runs whose <protocol>-<name> contains one of these, for example search-resnet20-linear-0.0625-haq."""
    again: tuple[str, ...] = ()
    """Among these, make anew those whose <protocol>-<name> contains one of these: their rows are taken out and
    their folders renamed at once, so a command that is stopped goes on without this option."""
    track: bool = False
    """Log every run to Weights & Biases, in the group <suite>-<protocol>."""
    ray: str | None = None
    """Run the searches on Ray instead of in processes: local, auto, HOST:PORT or ray://HOST:PORT of a cluster."""


class Pool:
    """Runs command lines, several at a time, and stops them when it is stopped itself."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._processes: set[subprocess.Popen[str]] = set()
        self._executor = ThreadPoolExecutor(options.processes)
        self._running: dict[Future[str | None], Run] = {}

    @property
    def full(self) -> bool:
        """Return whether no other search can begin now."""
        return len(self._running) >= self._options.processes

    @property
    def busy(self) -> bool:
        """Return whether any search is running."""
        return bool(self._running)

    def start(self, run: Run) -> None:
        """Begin a search."""
        self._running[self._executor.submit(self._execute, run)] = run

    def finished(self) -> list[tuple[Run, str | None]]:
        """Wait until a search has ended; those that have, with the end of what they printed if they failed."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return [(self._running.pop(future), future.result()) for future in done]

    def stop(self) -> None:
        """Interrupt all searches; they write what they have."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.send_signal(signal.SIGINT)

    def _execute(self, run: Run) -> str | None:
        options = self._options
        command = [sys.executable, *run.command(options.data_root, options.runs / run.name), "--resume"]
        if options.track:
            command += ["--track", "--wandb-group", f"{options.suite}-{run.protocol}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it through stop alone, and once
        ) as process:
            self._processes.add(process)
            _, error = process.communicate()
            self._processes.discard(process)
        return f"status {process.returncode}: {error[-2000:]}" if process.returncode else None


def chosen(runs: list[Run], patterns: tuple[str, ...]) -> list[Run]:
    """The runs whose label contains one of the patterns."""
    return [run for run in runs if any(pattern in run.label for pattern in patterns)]


def main(options: Options) -> int:
    options.data_root, options.runs = options.data_root.resolve(), options.runs.resolve()
    store = Store(options.suite, options.runs, results_of(options.suite, options.results).resolve())
    wanted = chosen(store.suite, options.only or ("",))
    gather(store, without=store.set_aside(chosen(wanted, options.again)))
    left = [run for run in wanted if not store.is_done(run)]
    if options.ray is not None:
        group = options.suite if options.track else None
        return _told(run_on_ray(left, store, options.data_root, options.ray, group))
    failed: dict[str, str] = {}
    pool = Pool(options)
    shape = "{desc}: {percentage:3.0f}% {bar} {elapsed} gone, {remaining} left"
    try:
        cost = sum(run.expected_cost for run in left)
        with tqdm(total=cost, desc=options.suite, smoothing=0, bar_format=shape) as bar:
            while left or pool.busy:
                # Matched runs can begin once ADRL's have ended.
                while not pool.full and (run := next((run for run in left if store.sized(run)), None)):
                    left.remove(run)
                    pool.start(store.sized(run) or run)
                if not pool.busy:
                    break
                for ended, error in pool.finished():
                    bar.update(ended.expected_cost)
                    if error is not None:
                        failed[ended.name] = error
                    gather(store, [ended])
    except BaseException:
        pool.stop()
        raise
    failed |= {run.label: "waits for ADRL's runs" for run in left}
    return _told(failed)


def _told(failed: dict[str, str]) -> int:
    """Print what failed, and return the exit status."""
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run_stoppable(lambda: main(tyro.cli(Options, description=__doc__)))
