"""Run a suite of searches, each by its own command line, and gather their results.

    python benchmarks/run.py --suite paper --data-root D
    python benchmarks/run.py --suite comparison --data-root D
    python benchmarks/run.py --suite choices --data-root D

The searches of a suite are in benchmarks/suites.py. Resumable: a finished run is not run again, a killed one goes on
where it was. The CSV files of benchmarks/results are written anew after every run (see benchmarks/gather.py);
benchmarks/report.py and benchmarks/figures.py make tables and figures of them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import tyro
from tqdm import tqdm

from gather import gather
from suites import ROOT, SUITES, Run, Suite, matched, result_of


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
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""
    only: str = ""
    """Only runs whose name contains this."""
    track: bool = False
    """Log every run to Weights & Biases, in a group named like the suite."""


class Pool:
    """Runs command lines, several at a time, and stops them when it is stopped itself."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._running: set[subprocess.Popen[str]] = set()
        self._executor = ThreadPoolExecutor(options.processes)

    def run_all(self, runs: list[Run]) -> Iterator[tuple[Run, str | None]]:
        """Each run as it ends, with the end of what it printed if it failed."""
        futures = {self._executor.submit(self._execute, run): run for run in runs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            self._executor.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.send_signal(signal.SIGINT)  # they write what they have
            raise

    def _execute(self, run: Run) -> str | None:
        options = self._options
        command = [sys.executable, *run.command(options.data_root, options.runs / run.name), "--resume"]
        if options.track:
            command += ["--track", "--wandb-group", options.suite]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it through run_all alone, and once
        ) as process:
            self._running.add(process)
            _, error = process.communicate()
            self._running.discard(process)
        return f"status {process.returncode}: {error[-2000:]}" if process.returncode else None


def main(options: Options) -> int:
    options.data_root, options.runs = options.data_root.resolve(), options.runs.resolve()
    signal.signal(signal.SIGTERM, _stop)
    suite = SUITES[options.suite]()
    chosen = [run for run in suite if options.only in run.name]
    failed: dict[str, str] = {}
    pool = Pool(options)
    # What ADRL takes says how long the runs of the protocol "matched" are, so ADRL comes first.
    adrl = [run for run in chosen if run.agent == "adrl"]
    others = [run for run in chosen if run.agent != "adrl"]
    cost = sum(run.expected_cost for run in chosen)
    shape = "{desc}: {percentage:3.0f}% {bar} {elapsed} gone, {remaining} left"
    with tqdm(total=cost, desc=options.suite, smoothing=0, bar_format=shape) as bar:
        for wave in (adrl, others):
            ready = [resolved for run in wave if (resolved := matched(run, suite, options.runs)) is not None]
            failed |= {run.name: "waits for ADRL's runs" for run in wave if matched(run, suite, options.runs) is None}
            left = [run for run in ready if result_of(run, options.runs) is None]
            cost -= sum(run.expected_cost for run in wave) - sum(run.expected_cost for run in left)
            bar.total = cost  # less what is done already, and what a matched run is in truth
            bar.refresh()
            for run, error in pool.run_all(sorted(left, key=lambda run: run.seed)):
                bar.update(run.expected_cost)
                if error is not None:
                    failed[run.name] = error
                gather(options.suite, options.runs, options.results)
    gather(options.suite, options.runs, options.results)
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Options, description=__doc__)))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
