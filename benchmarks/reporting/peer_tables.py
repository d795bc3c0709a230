"""The table of peers.csv: other tools beside adrl-gym."""

from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import markdown

_HEADER = (
    "bits asked",
    "tool",
    "setting",
    "method",
    "average bits",
    "test accuracy",
    "float",
    "processor seconds",
)
_TOOLS = {"adrl_gym": "adrl-gym", "mct": "model-compression-toolkit", "modelopt": "modelopt", "aimet": "AIMET"}


def peers_table(results: Path) -> str:
    """Return a row for each tool, size and setting, the most accurate first, or a note where nothing was measured."""
    if not (results / "peers.csv").exists():
        return "Not measured yet."
    rows = read_rows(results / "peers.csv")
    rows.sort(key=lambda row: (row["network"], float(row["target_bits"]), -float(row.get("test_accuracy") or 0)))
    return markdown(_HEADER, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    tool = f"{_TOOLS[row['tool']]} {row.get('version', '')}".strip()
    if row.get("error"):
        return [row["target_bits"], tool, row["setting"], f"failed: {row['error']}", "", "", "", ""]
    accuracies = [f"{float(row[name]):.2f}" for name in ("average_bits", "test_accuracy", "float_test_accuracy")]
    seconds = f"{float(row['cpu_seconds']):.0f}" if row.get("cpu_seconds") else ""
    return [row["target_bits"], tool, row["setting"], row["method"], *accuracies, seconds]
