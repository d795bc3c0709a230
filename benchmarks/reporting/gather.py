"""Gather the finished runs of a suite into CSV files.

    python -m benchmarks.reporting.gather --suite paper

``comparison`` becomes a file of that name with a row for each run. The other suites share runs.csv,
and from the histories learning.csv (when an agent first has what HAQ ends with), variance.csv (reward of the first
episodes) and curves.csv (best so far, where it changes). Rows of runs whose folders are gone stay.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from adrl_agents.runs import Episode, SearchResult, load_history
from adrl_agents.sweep import as_text, result_columns
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.store import Key, Store, key_columns, key_of, locked, merged, write
from benchmarks.harness.suites import Run, Suite, results_of

FIRST_EPISODES = 20
CURVE = ("episode", "evaluations", "seconds", "best_accuracy", "cpu_seconds")


class Done(NamedTuple):
    """A finished run."""

    run: Run
    result: SearchResult
    episodes: list[Episode]


def finished_runs(store: Store, runs: Iterable[Run]) -> list[Done]:
    """Those of ``runs`` whose folders are there and finished."""
    done = []
    for run in map(store.sized, runs):
        result = None if run is None else store.result(run)
        if run is not None and result is not None:
            done.append(Done(run, result, load_history(store.runs / run.name / result.history)))
    return done


def run_row(done: Done) -> Row:
    """One run's outcome."""
    cache = as_text({name: getattr(done.result, name) for name in ("memo_hits", "memo_misses")})
    return {**key_columns(done.run), **result_columns(done.result), **cache}


def variance_rows(finished: Sequence[Done]) -> list[Row]:
    """Mean and standard deviation of the reward of each run's first episodes, where it has as many."""
    rows = []
    for done in finished:
        rewards = [episode.reward for episode in done.episodes[:FIRST_EPISODES]]
        if done.run.protocol == "search" and len(rewards) == FIRST_EPISODES:
            columns = {
                "first_episodes": FIRST_EPISODES,
                "reward_mean": round(statistics.mean(rewards), 6),
                "reward_std": round(statistics.stdev(rewards), 6),
            }
            rows.append({**key_columns(done.run), **as_text(columns)})
    return rows


def curve_rows(finished: Sequence[Done]) -> list[Row]:
    """The best so far of every run: the episodes where it changes, and the last one."""
    rows = []
    for done in finished:
        last = None
        for episode in done.episodes:
            if episode.best_accuracy != last or episode is done.episodes[-1]:
                last = episode.best_accuracy
                rows.append({**key_columns(done.run), **as_text({name: getattr(episode, name) for name in CURVE})})
    return rows


def learning_rows(runs: Sequence[Row], curves: Sequence[Row]) -> list[Row]:
    """For each run, the first episode after which the best so far is at least what HAQ ends with.

    HAQ's is the median over its seeds of the best configuration's search accuracy, in the same setting; episodes,
    evaluations and seconds (profiling included) are empty where a run never gets there.
    """
    ends: dict[Key, list[float]] = {}
    points: dict[Key, list[Row]] = {}
    searches = [row for row in runs if row["protocol"] == "search"]
    for row in searches:
        if row["agent"] == "haq":
            ends.setdefault(_setting(row), []).append(float(row["search_accuracy"]))
    for row in curves:
        points.setdefault(key_of(row), []).append(row)
    rows = []
    for row in searches:
        if _setting(row) not in ends:
            continue
        target = statistics.median(ends[_setting(row)])
        there = next((p for p in points.get(key_of(row), []) if float(p["best_accuracy"]) >= target), None)
        reached = {
            "target_accuracy": str(target),
            "episodes": there["episode"] if there else "",
            "evaluations": there["evaluations"] if there else "",
            "seconds": there["seconds"] if there else "",
            "cpu_seconds": there["cpu_seconds"] if there else "",
        }
        names = ("network", "agent", "quantizer", "budget", "seed", "protocol", "varied")
        rows.append({name: row[name] for name in names} | reached)
    return rows


def gather(store: Store, runs: Iterable[Run] | None = None, without: Iterable[Key] = ()) -> None:
    """Bring the rows of finished runs into the CSV files.

    Args:
        store: of the suite.
        runs: that may have finished; default: all of the suite.
        without: rows to take out.
    """
    finished = finished_runs(store, store.suite if runs is None else runs)
    gone = set(without)
    with locked(store.results):
        rows = merged(read_rows(store.path), [run_row(done) for done in finished], gone)
        write(rows, store.path)
        if store.path.stem == "runs":
            variance, curves = store.results / "variance.csv", store.results / "curves.csv"
            write(merged(read_rows(variance), variance_rows(finished), gone), variance)
            points = merged(read_rows(curves), curve_rows(finished), gone)
            write(points, curves)
            write(learning_rows(rows, points), store.results / "learning.csv")
    store.refresh()


def _setting(row: Row) -> Key:
    return tuple(row[name] for name in ("network", "quantizer", "budget", "varied"))


@dataclass
class Options:
    """Options of the gathering."""

    suite: Suite
    """Whose runs to gather."""
    runs: Path = Path("runs/benchmarks")
    """Folder of the runs' folders."""
    results: Path | None = None
    """Folder of the CSV files; without it benchmarks/results, and for the suite quick runs/quick."""


def main(options: Options) -> None:
    gather(Store(options.suite, options.runs, results_of(options.suite, options.results)))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
