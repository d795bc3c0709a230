"""Gather the finished runs of a suite into CSV files.

    python benchmarks/gather.py --suite paper

``comparison`` and ``choices`` become one file of that name with a row for each run. ``paper`` and ``quick`` become
runs.csv, and from the runs' histories learning.csv (when an agent first has what HAQ ends with), variance.csv (reward
of the first episodes) and curves.csv (best so far, where it changes).
"""

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from adrl_agents.history import Episode, load_history
from adrl_gym.result import SearchResult
from suites import ROOT, SUITES, Run, Suite, matched, result_of

FIRST_EPISODES = 20
KEY = ("network", "quantizer", "budget", "varied", "agent", "protocol", "seed")
Row = dict[str, Any]


class Done(NamedTuple):
    """A finished run."""

    run: Run
    result: SearchResult
    episodes: list[Episode]


def finished_runs(suite: Suite, folder: Path) -> list[Done]:
    """All runs of a suite that are finished."""
    runs, done = SUITES[suite](), []
    for planned in runs:
        run = matched(planned, runs, folder)
        result = None if run is None else result_of(run, folder)
        if run is not None and result is not None:
            done.append(Done(run, result, load_history(folder / run.name / result.history)))
    return done


def key_columns(run: Run) -> Row:
    """What tells a row from the others."""
    return {
        "network": run.network,
        "agent": run.agent,
        "quantizer": run.quantizer,
        "budget": run.budget,
        "seed": run.seed,
        "protocol": run.protocol,
        "varied": run.varied_options,
    }


def run_row(done: Done) -> Row:
    """One run's outcome."""
    result = done.result
    return {
        **key_columns(done.run),
        "episodes": result.episodes,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "search_accuracy": result.search_accuracy,
        "float_search_accuracy": result.float_search_accuracy,
        "test_accuracy": result.test_accuracy,
        "float_test_accuracy": result.float_test_accuracy,
        "average_bits": result.average_bits,
        "size_ratio": result.size_ratio,
        "bits": " ".join(map(str, result.bits.values())),
        "checkpoint": result.checkpoint[:16],
        "torch": result.versions["torch"],
        "commit": result.git_commit,
    }


def learning_rows(finished: Sequence[Done]) -> list[Row]:
    """For each run, the first episode after which the best so far is at least what HAQ ends with.

    HAQ's is the median over its seeds of the best configuration's search accuracy, in the same setting; episodes,
    evaluations and seconds (profiling included) are empty where a run never gets there.
    """
    rows = []
    searches = [done for done in finished if done.run.protocol == "search"]
    for done in searches:
        haq = [d.result.search_accuracy for d in searches if d.run.agent == "haq" and d.run.setting == done.run.setting]
        if not haq:
            continue
        target = statistics.median(haq)
        there = next((e for e in done.episodes if e.best_accuracy >= target), None)
        rows.append(
            {
                **key_columns(done.run),
                "target_accuracy": target,
                "episodes": there.episode if there else "",
                "evaluations": there.evaluations if there else "",
                "seconds": there.seconds if there else "",
            }
        )
    return rows


def variance_rows(finished: Sequence[Done]) -> list[Row]:
    """Mean and standard deviation of the reward of each run's first episodes, where it has as many."""
    rows = []
    for done in finished:
        rewards = [episode.reward for episode in done.episodes[:FIRST_EPISODES]]
        if done.run.protocol == "search" and len(rewards) == FIRST_EPISODES:
            rows.append(
                {
                    **key_columns(done.run),
                    "first_episodes": FIRST_EPISODES,
                    "reward_mean": round(statistics.mean(rewards), 6),
                    "reward_std": round(statistics.stdev(rewards), 6),
                }
            )
    return rows


def curve_rows(finished: Sequence[Done]) -> list[Row]:
    """The best so far of every run: the episodes where it changes, and the last one."""
    rows = []
    for done in finished:
        last = None
        for episode in done.episodes:
            if episode.best_accuracy != last or episode is done.episodes[-1]:
                last = episode.best_accuracy
                row = {name: getattr(episode, name) for name in ("episode", "evaluations", "seconds", "best_accuracy")}
                rows.append({**key_columns(done.run), **row})
    return rows


def write(rows: Sequence[Row], path: Path) -> None:
    """Replace the CSV whole, in a fixed order of rows; nothing where there are none."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: [str(row[name]) for name in KEY]))
    part.replace(path)


def gather(suite: Suite, runs: Path, results: Path) -> None:
    """Write the CSV files of a suite from its finished runs."""
    finished = finished_runs(suite, runs)
    rows = [run_row(done) for done in finished]
    if suite in ("comparison", "choices"):
        write(rows, results / f"{suite}.csv")
        return
    write(rows, results / "runs.csv")
    write(learning_rows(finished), results / "learning.csv")
    write(variance_rows(finished), results / "variance.csv")
    write(curve_rows(finished), results / "curves.csv")


@dataclass
class Options:
    """Options of the gathering."""

    suite: Suite
    """Whose runs to gather."""
    runs: Path = Path("runs/benchmarks")
    """Folder of the runs' folders."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""


def main(options: Options) -> None:
    gather(options.suite, options.runs, options.results)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
