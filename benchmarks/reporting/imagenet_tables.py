"""The table of imagenet.csv and imagenet_pairs.csv: what searches find for a network of ImageNet's size."""

from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import NOT_RUN, markdown, metrics_cell

_HEADER = (
    "average bits",
    "search",
    "evaluations",
    "recipe",
    "test accuracy",
    "agreement, KL, loss",
    "ADRL's KL less its KL",
)


def imagenet_table(results: Path) -> str:
    """Return a row for each search and recipe, those of fewer bits first."""
    pairs = {
        _key(row, row["average_bits"]): row for row in read_rows(results / "imagenet_pairs.csv") if row["cost"] == "kl"
    }
    lines = []
    for row in sorted(read_rows(results / "imagenet.csv"), key=lambda row: (float(row["budget"]), row["agent"])):
        bits = f"{32 * float(row['budget']):g}"
        lines.append(
            [
                bits,
                row["agent"],
                f"{float(row['evaluations']):.0f}",
                row["recipe"],
                f"{float(row['test_accuracy']):.2f}",
                metrics_cell([row]),
                "" if row["agent"] == "adrl" else _less(pairs.get(_key(row, bits))),
            ]
        )
    return markdown(_HEADER, lines)


def _key(row: Row, bits: str) -> tuple[str, ...]:
    return row["network"], bits, row["seed"], row["agent"], row["recipe"]


def _less(row: Row | None) -> str:
    """``mean (its 95 % interval)``."""
    if row is None:
        return NOT_RUN
    mean, low, high = (float(row[name]) for name in ("adrl_less_agent", "low", "high"))
    return f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
