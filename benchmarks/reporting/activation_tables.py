"""The table of activations.csv: accuracy with quantized activations beside float ones."""

from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import NOT_RUN, markdown

SEARCHED = "search"  # as bits of activations: each layer has its own
_NAMES = {"resnet20": "ResNet20", "efficientnet_lite1": "EfficientNet-Lite1"}


def activations_table(results: Path) -> str:
    """Return a row for each configuration and recipe, and a column for each bit-width of activations."""
    rows = [row for row in read_rows(results / "activations.csv") if row["activation_bits"] != SEARCHED]
    widths = sorted({row["activation_bits"] for row in rows}, reverse=True)  # float, 8, ...
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    order = ("network", "recipe", "average_bits", "agent")
    for row in sorted(rows, key=lambda row: [row[name] for name in order]):
        what = row["network"], row["agent"], row["average_bits"], row["recipe"]
        lines.setdefault(what, {})[row["activation_bits"]] = row
    cells = [
        [
            _NAMES[network],
            f"{float(bits):.2f} ({agent})",
            recipe,
            *(f"{float(own[width]['test_accuracy']):.2f}" if width in own else NOT_RUN for width in widths),
            f"{float(next(iter(own.values()))['float_test_accuracy']):.2f}",
        ]
        for (network, agent, bits, recipe), own in lines.items()
    ]
    heads = ["float activations" if width == "float" else f"{width} bits" for width in widths]
    return markdown(["network", "average bits of weights", "recipe", *heads, "float network"], cells)
