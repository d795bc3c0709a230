"""Rows of sweeps, compared."""

from collections.abc import Sequence

from adrl_agents.runs import Row

TIMES = ("seconds", "cpu_seconds")


def without_times(rows: Sequence[Row]) -> list[Row]:
    """Return what must not depend on where and when the searches ran."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
