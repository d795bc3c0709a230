"""CSV files of results, as the package reads and writes them."""

from collections.abc import Mapping
from pathlib import Path

from adrl_agents.runs import Row, read_rows, write_rows

__all__ = ["Row", "add_row", "read_rows", "write_rows"]


def add_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a row at the end of a CSV file, which is written anew.

    Args:
        path: of the file, which is made if it is not there.
        row: may have columns that the rows before lack; they stay empty in those.
    """
    write_rows(path, [*read_rows(path), row])
