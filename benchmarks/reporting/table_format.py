"""Cells of tables: numbers of rows, and how they are written."""

import math
import statistics
from collections.abc import Sequence

from benchmarks.harness.csv_file import Row

NOT_RUN = "not run"


def values(rows: Sequence[Row], column: str) -> list[float]:
    """One column, where it is known."""
    return [float(row[column]) for row in rows if row[column]]


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
