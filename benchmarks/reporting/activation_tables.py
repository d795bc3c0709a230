"""The tables of activations.csv: quantized activations beside float ones, and searched ones of several agents."""

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from adrl_agents.registry import AGENTS
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import NOT_RUN, markdown, values

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


def searched_table(results: Path) -> str:
    """Return a row for each budget and agent whose search chose the bits of activations too: mean, spread over seeds.

    The spread is the standard deviation of a sample, which one seed alone does not have.
    """
    rows = [row for row in read_rows(results / "activations.csv") if row["activation_bits"] == SEARCHED]
    rows.sort(key=lambda row: (row["network"], -float(row["budget"]), list(AGENTS).index(row["agent"])))
    lines = []
    for _, group in itertools.groupby(rows, key=lambda row: (row["network"], row["budget"], row["agent"])):
        own = list(group)
        network, agent, budget = (own[0][name] for name in ("network", "agent", "budget"))
        measured = [_mean_and_deviation(own, name, digits) for name, digits in (("test_accuracy", 2), ("test_kl", 3))]
        bits = f"{statistics.mean(values(own, 'average_bits')):.2f}"
        accuracy = f"{float(own[0]['float_test_accuracy']):.2f}"
        what = f"{_NAMES[network]}, 1/{1 / float(budget):.0f}"
        lines.append([what, AGENTS[agent].label, *measured, accuracy, bits, str(len(own))])
    header = ["network, budget of bit operations", "agent", "test accuracy", "KL divergence", "float network"]
    return markdown([*header, "average bits of weights", "seeds"], lines)


def _mean_and_deviation(rows: Sequence[Row], column: str, digits: int) -> str:
    found = values(rows, column)
    spread = f" ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.{digits}f}{spread}"
