"""The summary that a search prints at its end."""

import sys

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adrl_agents.runs.result import SearchResult

LEAST_NAME = 8  # characters of a layer's name that even a narrow terminal shows


def print_result(result: SearchResult) -> None:
    """Print the table of the layers and one line of totals; a log is as wide as the table, a terminal as it is."""
    console = Console(file=sys.stdout, highlight=False)
    table = layer_table(result)
    whole = console.measure(table).maximum
    if not console.is_terminal:
        console.width = whole
    elif whole > console.width:
        names = max(cell_len(name) for name in result.bits)
        table = layer_table(result, max(LEAST_NAME, names - (whole - console.width)))
    console.print(table, soft_wrap=True)
    print(totals(result))


def layer_table(result: SearchResult, width: int | None = None) -> Table:
    """Return a row for each layer: bits, name (in at most ``width`` characters), shape and number of the weights."""
    table = Table(title=f"Best of {result.episodes} configurations", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    rows = zip(result.bits.items(), result.shapes.values(), result.parameters, strict=True)
    for (name, bits), shape, count in rows:
        shown = Text(shortened(name, width))  # not markup: a name may hold brackets
        table.add_row(str(bits), "=" * bits, shown, " x ".join(str(size) for size in shape), f"{count:,}")
    return table


def shortened(name: str, width: int | None) -> str:
    """Return a name in at most ``width`` characters: its end tells layers apart.

    >>> shortened("features.denseblock4.conv2", 12)
    '...ck4.conv2'
    """
    return name if width is None or len(name) <= width else f"...{name[3 - width :]}"


def totals(result: SearchResult) -> str:
    """One line: size, accuracy, cost."""
    return (
        f"{len(result.bits)} layers, {sum(result.parameters):,} weights: "
        f"{result.average_bits:.3f} bits a weight, {1 / result.size_ratio:.1f} times smaller than 32 bits; "
        f"{accuracy(result)}; "
        f"{result.episodes} episodes, {result.evaluations:,.0f} evaluations, {result.seconds:.0f} s"
    )


def accuracy(result: SearchResult) -> str:
    """The accuracy to report: on the test images if there are any, in percent, beside the float network's."""
    if result.test_accuracy is not None:
        return f"test accuracy {result.test_accuracy:.2f} % (float {result.float_test_accuracy:.2f} %)"
    if result.data == "data-free":
        return f"agreement with the float network {result.search_accuracy:.2f} % (data-free images)"
    return f"search accuracy {result.search_accuracy:.2f} % (float {result.float_search_accuracy:.2f} %)"
