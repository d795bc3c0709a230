"""What results/finetune.csv says, for figures.py and report.py. By itself it prints the table.

python -m benchmarks.experiments.finetuned
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from adrl_agents.registry import AGENTS
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.suites import ROOT
from benchmarks.reporting.table_format import BESIDE, metrics_cell, without_empty

_AGENTS = {name: AGENTS[name].label for name in ("adrl", "haq", "uniform")}
STARTS = ("refit", "direct")
_NETWORKS = {"resnet20": "ResNet20", "cifarnet": "CifarNet"}


def finetunings(results: Path) -> list[Row]:
    """The rows of all finetunings that are over; none where there is no such file."""
    rows = read_rows(results / "finetune.csv")
    over = {_run(row) for row in rows if row["epoch"] == row["epochs"]}
    return [row for row in rows if _run(row) in over]


def mean_curve(rows: Sequence[Row], column: str = "test_accuracy") -> list[float]:
    """Mean over seeds at each epoch, from 0 on."""
    epochs = sorted({int(row["epoch"]) for row in rows})
    return [statistics.mean(float(row[column]) for row in rows if int(row["epoch"]) == epoch) for epoch in epochs]


def groups(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """(agent, start) and the rows of all its seeds, in the order that they are shown in."""
    found = []
    for agent in _AGENTS:
        for start in STARTS:
            chosen = [row for row in rows if (row["agent"], row["start"]) == (agent, start)]
            if chosen:
                found.append(((agent, start), chosen))
    return found


def haq_final(rows: Sequence[Row]) -> float | None:
    """Mean test accuracy of HAQ's bits after the last epoch, from direct weights; None where it did not run."""
    haq = [row for row in rows if (row["agent"], row["start"]) == ("haq", "direct")]
    return mean_curve(haq)[-1] if haq else None


def epochs_until(curve: Sequence[float], target: float) -> int | None:
    """The first epoch after which the accuracy is at least ``target``; None if there is none."""
    return next((epoch for epoch, accuracy in enumerate(curve) if accuracy >= target), None)


def finetune_table(results: Path) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a line for each network, budget, agent and start."""
    rows, lines = finetunings(results), []
    for network, budget in sorted(
        {(r["network"], r["budget"]) for r in rows}, key=lambda key: (key[0] != "resnet20", key)
    ):
        setting = [row for row in rows if (row["network"], row["budget"]) == (network, budget)]
        target = haq_final(setting)
        for (agent, start), chosen in groups(setting):
            seeds = sorted({row["seed"] for row in chosen})
            before = [float(row["test_accuracy"]) for row in chosen if row["epoch"] == "0"]
            best = [float(row["test_accuracy"]) for row in chosen if row["best"] == "1"]
            until = None if target is None else epochs_until(mean_curve(chosen), target)
            lines.append(
                [
                    f"{_NETWORKS[network]}, {budget}",
                    f"{_AGENTS[agent]} (n={len(seeds)})",
                    start,
                    _numbers(before),
                    _numbers(best),
                    metrics_cell([row for row in chosen if row["best"] == "1"]),
                    f"{float(chosen[0]['float_test_accuracy']):.2f}",
                    chosen[0]["epochs"],
                    "" if target is None else "never" if until is None else str(until),
                ]
            )
    header = ["network, budget", "bits of", "starting weights", "before", "finetuned", BESIDE, "float", "epochs"]
    return without_empty([*header, "epochs until HAQ's last, from direct weights"], lines)


def _numbers(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _run(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ("network", "agent", "budget", "seed", "start"))


@dataclass
class Options:
    """Options of the table."""

    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""


def main(options: Options) -> None:
    header, lines = finetune_table(options.results)
    for line in [header, *lines]:
        print("\t".join(line))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
