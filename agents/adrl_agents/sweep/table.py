"""The table of a sweep: a row for each finished search."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from adrl_agents.registry import AGENTS
from adrl_agents.runs import Row, SearchResult
from adrl_agents.sweep.search_task import SearchTask
from adrl_gym.costs import budget_name, limits_of

_REFIT = "search_accuracy", "test_accuracy"  # measurements of the refitted network that have a column


def result_columns(result: SearchResult) -> Row:
    """Return the outcome of a finished search as it stands in tables; what is not known is empty."""
    columns = {
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
        "cpu_seconds": result.cpu_seconds,
        "test_agreement": result.test_agreement,
        "test_kl": result.test_kl,
        "test_loss": result.test_loss,
    }
    return as_text(columns)


def as_text(columns: dict[str, Any]) -> Row:
    """Return the values as they are written: what is not known is empty.

    >>> as_text({"loss": 0.5, "test_accuracy": None, "kl": float("nan")})
    {'loss': '0.5', 'test_accuracy': '', 'kl': ''}
    """
    unknown = {name for name, v in columns.items() if v is None or (isinstance(v, float) and math.isnan(v))}
    return {name: "" if name in unknown else str(value) for name, value in columns.items()}


def sweep_rows(tasks: Iterable[SearchTask], folder: Path) -> list[Row]:
    """Return a row for each search that is finished below ``folder``, in the order of ``tasks``."""
    rows = []
    for task in tasks:
        result = task.result(folder)
        if result is not None:
            (kind,) = limits_of(task.options.budget)
            key = {"agent": task.agent, "budget": budget_name(task.options.budget), "seed": task.options.seed}
            share = {"size": result.size_ratio, **(result.cost_ratios or {})}[kind]
            images = {"data": result.data, "images_hash": (result.images_hash or "")[:16]}
            rows.append({**as_text({"run": task.name, **key, **images}), **result_columns(result)})
            rows[-1] |= _refit_columns(task.refitted(folder)) | as_text({"budget_kind": kind, "cost_ratio": share})
    return rows


def _refit_columns(report: dict[str, Any] | None) -> Row:
    """Return the accuracies of the refitted network in percent, empty without a refit."""
    found = {name: (report or {}).get(name, {}).get("refit") for name in _REFIT}
    return as_text({f"refit_{name}": None if v is None else round(v, 6) for name, v in found.items()})


def accuracy_column(rows: Sequence[Row]) -> str:
    """Return the column to report: test accuracy, or search accuracy where there are no test images."""
    return "test_accuracy" if all(row["test_accuracy"] for row in rows) else "search_accuracy"


def printed_table(rows: Sequence[Row]) -> Table:
    """Return the rows in short, for a terminal."""
    accuracy = accuracy_column(rows)
    refitted = any(row[f"refit_{accuracy}"] for row in rows)
    name = accuracy.replace("_", " ")
    if accuracy == "search_accuracy" and rows[0]["data"] == "data-free":
        name = "agreement"
    table = Table(box=box.SIMPLE_HEAD)
    header = ["budget", "bits a weight", f"{name} (%)", *(["refitted (%)"] if refitted else [])]
    table.add_column("agent", no_wrap=True)
    for title in (*header, "float (%)", "seed", "evaluations", "seconds"):
        table.add_column(title, justify="right")
    for row in rows:
        accuracies = [accuracy, *([f"refit_{accuracy}"] if refitted else []), f"float_{accuracy}"]
        cells = [AGENTS[row["agent"]].label, row["budget"], f"{float(row['average_bits']):.3f}"]
        cells += [f"{float(row[column]):.2f}" if row[column] else "" for column in accuracies]
        cells += [row["seed"], f"{float(row['evaluations']):.0f}", f"{float(row['seconds']):.0f}"]
        table.add_row(*map(Text, cells))
    return table
