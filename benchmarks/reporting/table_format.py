"""Cells of tables: numbers of rows, and how they are written."""

import math
import statistics
from collections.abc import Sequence

from benchmarks.harness.csv_file import Row
from benchmarks.harness.metric_columns import BESIDE_ACCURACY

NOT_RUN = "not run"
BESIDE = "agreement, KL, loss"  # heads a column of ``metrics_cell``


def values(rows: Sequence[Row], column: str) -> list[float]:
    """One column, where it is known; rows of an earlier version may not have it."""
    return [float(row[column]) for row in rows if row.get(column)]


def median(rows: Sequence[Row], column: str) -> float | None:
    """Return the numbers of one column; None where nothing is known."""
    found = values(rows, column)
    return statistics.median(found) if found else None


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """Return it as it stands in a table."""
    return NOT_RUN if value is None else f"{value:{'+' if sign else ''},.{digits}f}"


def spread(rows: Sequence[Row], column: str = "test_accuracy", digits: int = 2) -> str:
    """``median (lowest to highest), n=seeds``."""
    found = values(rows, column)
    if not found:
        return NOT_RUN
    between = f" ({min(found):.{digits}f} to {max(found):.{digits}f})" if len(found) > 1 else ""
    return f"{statistics.median(found):.{digits}f}{between}, n={len(found)}"


def metrics_cell(rows: Sequence[Row]) -> str:
    """``agreement %, KL, loss``, medians of the rows on the test images; empty where nothing is known."""
    agreement, kl, loss = (median(rows, name) for name in BESIDE_ACCURACY)
    shown = [
        "" if agreement is None else f"{agreement:.2f} %",
        "" if kl is None else f"{kl:.4f}",
        "" if loss is None else f"{loss:.4f}",
    ]
    return ", ".join(part for part in shown if part)


def without_empty(header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns that no line has anything in."""
    kept = [column for column in range(len(header)) if not lines or any(line[column] for line in lines)]
    return [header[column] for column in kept], [[line[column] for column in kept] for line in lines]


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def reached(rows: Sequence[Row], column: str) -> float | None:
    """Median of what it takes to get there; None where half of the seeds never do."""
    found = sorted(values(rows, column))
    places = [*found, *[None] * (len(rows) - len(found))]
    middle = places[(len(places) - 1) // 2 : len(places) // 2 + 1]
    return statistics.mean(middle) if middle and None not in middle else None  # type: ignore[type-var]


def difference(a: float | None, b: float | None) -> float | None:
    """``a - b``, where both are known."""
    return None if a is None or b is None else a - b


def ratio(a: float | None, b: float | None) -> float | None:
    """``a / b``, where both are known."""
    return None if a is None or not b else a / b


def lead(row: Row) -> str:
    """``difference ± 1.96 standard errors`` of two accuracies on the same images, in percent."""
    images, mine, its = (int(row[name]) for name in ("images", "adrl_alone_right", "other_alone_right"))
    gap = (mine - its) / images
    error = math.sqrt(((mine + its) / images - gap**2) / images)  # of a mean of values of -1, 0 and 1
    return f"{100 * gap:+.2f} ± {196 * error:.2f}"
