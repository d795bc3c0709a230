"""CSV files of results: read and replaced whole, so that a kill leaves the old file or the new one."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from adrl_gym.files import write_whole

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Replace a CSV file, whose folder is made if it is not there.

    Args:
        path: of the file.
        rows: columns that a row lacks stay empty. Without rows, a file that is there keeps its header.
    """
    rows, text = list(rows), io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row)) or _header(path)
    if not columns:
        return
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue().encode())


def _header(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])
