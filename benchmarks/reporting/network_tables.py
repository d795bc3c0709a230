"""Tables of networks.csv: which networks were tried, and which of them keep more than one weight in a hundred float."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import markdown

LEAST_SHARE = 0.99  # of a network's weights, in layers that were found
# Network below it -> why.
REASONS = {
    "timm:crossvit_tiny_240": "position embeddings are bare parameters, added to patches and never run as a module"
}


def networks_table(results: Path) -> str:
    """Return a table of all networks: how much of them is quantized, and how the predictions compare."""
    lines = [
        [
            row["network"],
            row["kind"],
            row["layers"],
            f"{int(row['weights']):,}",
            f"{100 * float(row['share']):.2f} %",
            "yes" if row["in_parts"] == "True" else "no",
            row["quantized_difference"],
            f"{int(row['images']) - int(row['different'])} of {row['images']}",
        ]
        for row in sorted(read_rows(results / "networks.csv"), key=lambda row: (row["kind"], row["network"]))
    ]
    header = ["network", "kind", "layers", "weights", "in layers", "in parts", "largest difference", "same predictions"]
    return markdown(header, lines)


def exceptions_table(results: Path) -> str:
    """Return a table of the networks of which less than 99 % is quantized, and why."""
    lines = [
        [row["network"], f"{100 * float(row['share']):.2f} %", f"`{row['left']}`", REASONS[row["network"]]]
        for row in exceptions(read_rows(results / "networks.csv"))
    ]
    return markdown(["network", "in layers", "largest that stay float", "reason"], lines)


def exceptions(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of networks of which less than 99 % of the weights lie in layers that were found."""
    return [row for row in rows if float(row["share"]) < LEAST_SHARE]
