"""The store of finished searches: CSV files in benchmarks/results that are added to, by several processes at once.

A run's folder is not committed and may be gone; its rows stay, and a run that has rows is done.
"""

import contextlib
import dataclasses
import fcntl
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adrl_agents.runs import SearchResult
from benchmarks.harness.csv_file import Row, read_rows, write_rows
from benchmarks.harness.suites import FILES, SUITES, Run, Suite

KEY = ("network", "quantizer", "budget", "varied", "agent", "protocol", "seed")
Key = tuple[str, ...]


def key_of(row: Row) -> Key:
    """Return what tells a run's rows from another's."""
    return tuple(row[name] for name in KEY)


def key_columns(run: Run) -> Row:
    """The columns that make the key, as they stand in the files."""
    return {
        "network": run.network,
        "agent": run.agent,
        "quantizer": run.quantizer,
        "budget": f"{run.budget:g}",
        "seed": str(run.seed),
        "protocol": run.protocol,
        "varied": run.varied_options,
    }


def write(rows: Sequence[Row], path: Path) -> None:
    """Replace the CSV whole, its rows in a fixed order."""
    in_order: list[Row] = sorted(rows, key=key_of)
    write_rows(path, in_order)


def merged(rows: Iterable[Row], fresh: Sequence[Row], without: Iterable[Key] = ()) -> list[Row]:
    """``fresh`` in the place of rows of the same runs, all other rows as they were, those of ``without`` left out."""
    replaced = {key_of(row) for row in fresh} | set(without)
    return [*fresh, *(row for row in rows if key_of(row) not in replaced)]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time: the folder itself is locked, so that no file is left behind, even by a kill."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # and the lock is free


class Store:
    """Finished runs of a suite.

    Args:
        suite: name of the suite.
        runs: folder of the runs' folders.
        results: folder of the CSV files.
    """

    def __init__(self, suite: Suite, runs: Path, results: Path) -> None:
        self.suite = SUITES[suite]()
        self.runs, self.results = runs, results
        self.path = results / f"{FILES[suite]}.csv"
        self.refresh()

    def refresh(self) -> None:
        """Read the rows again: another process may have added some."""
        self._rows = {key_of(row): row for row in read_rows(self.path)}
        self._finished: dict[str, SearchResult] = {}

    def result(self, run: Run) -> SearchResult | None:
        """The finished result in a run's folder, if there is one."""
        if run.name not in self._finished:
            path = self.runs / run.name / "result.json"
            result = SearchResult.load(path) if path.exists() else None
            if result is None or result.status != "finished":
                return None
            self._finished[run.name] = result
        return self._finished[run.name]

    def row(self, run: Run) -> Row | None:
        """A run's row, if it has one that is of its length."""
        row = self._rows.get(key_of(key_columns(run)))
        asked = run.varied.get("episodes", 0) if run.protocol == "search" else 0  # matched: as long as ADRL's were
        return None if row is None or int(row["episodes"]) < asked else row

    def is_done(self, run: Run) -> bool:
        """Return whether nothing is left to do for a run."""
        sized = self.sized(run)
        return self.row(run) is not None or (sized is not None and self.result(sized) is not None)

    def sized(self, run: Run) -> Run | None:
        """A run of the protocol ``matched`` with its number of evaluations; None while ADRL's runs are not finished.

        The number is the most that ADRL took with any seed in the same setting.
        """
        if run.protocol != "matched":
            return run
        adrl = [other for other in self.suite if other.agent == "adrl" and other.setting == run.setting]
        most = max((self._evaluations(other) for other in adrl), default=math.inf)
        if most == math.inf:
            return None
        return dataclasses.replace(run, varied={"evaluations": math.ceil(most), **run.varied})

    def _evaluations(self, run: Run) -> float:
        """That a finished run took; infinite for one that is not."""
        if (result := self.result(run)) is not None:
            return result.evaluations
        row = self.row(run)
        return math.inf if row is None else float(row["evaluations"])

    def set_aside(self, runs: Sequence[Run]) -> list[Key]:
        """Rename the folders of these runs, so that they are made anew; the keys of their rows."""
        for sized in [self.sized(run) for run in runs]:
            if sized is not None and (folder := self.runs / sized.name).exists():
                folder.rename(folder.with_name(f"{folder.name}.aside-{time.strftime('%Y%m%d-%H%M%S')}"))
        return [key_of(key_columns(run)) for run in runs]
