"""The summary that a search prints at its end."""

import sys

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adrl_agents.runs.result import SearchResult
from adrl_gym.costs import told_ratios

LEAST_NAME = 8  # characters of a layer's name that even a narrow terminal shows
_COLUMNS = ("", "layer", "shape", "parameters")  # beside the bits; a narrow terminal goes without the last ones
WIDE = 10_000


def print_result(result: SearchResult) -> None:
    """Print the table of the layers and one line of totals; a log is as wide as the table, a terminal as it is."""
    console = Console(file=sys.stdout, highlight=False)
    table = layer_table(result)
    if console.is_terminal:
        table = _fitting(result, console.width)
    console.width = max(console.width, _width(table))
    console.print(table, soft_wrap=True)
    print(totals(result))


def layer_table(result: SearchResult, columns: int = len(_COLUMNS), name_width: int | None = None) -> Table:
    """Return a row for each layer: bits, a bar, its name, shape and number of the weights.

    The bits are those of the weights; where activations were searched, times those of the input.

    Args:
        result: of a search.
        columns: how many of ``_COLUMNS``.
        name_width: most characters of a name.
    """
    table = Table(title=f"Best of {result.episodes} configurations", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("bits", justify="right", no_wrap=True)
    for name in _COLUMNS[:columns]:
        table.add_column(name, no_wrap=True, justify="right" if name == "parameters" else "left")
    activations = result.activation_bits or {}
    rows = zip(result.bits.items(), result.shapes.values(), result.parameters, strict=True)
    for (name, bits), shape, count in rows:
        cells = ("=" * bits, shortened(name, name_width), " x ".join(str(size) for size in shape), f"{count:,}")
        both = f"{bits} x {activations[name]}" if activations else str(bits)
        table.add_row(both, *(Text(cell) for cell in cells[:columns]))  # no markup: names may hold brackets
    return table


def _fitting(result: SearchResult, width: int) -> Table:
    """Return the table with as many columns, and as much of the names, as fit."""
    longest = max(cell_len(name) for name in result.bits)
    for columns in range(len(_COLUMNS), 1, -1):
        spare = width - _width(layer_table(result, columns))
        if spare >= min(0, LEAST_NAME - longest):
            break
    return layer_table(result, columns, max(LEAST_NAME, longest + min(spare, 0)))


def _width(table: Table) -> int:
    return Console(width=WIDE).measure(table).maximum


def shortened(name: str, width: int | None) -> str:
    """Return a name in at most ``width`` characters: its end tells layers apart.

    >>> shortened("features.denseblock4.conv2", 12)
    '...ck4.conv2'
    """
    return name if width is None or len(name) <= width else f"...{name[3 - width :]}"


def totals(result: SearchResult) -> str:
    """One line: size, what else the budget limits, accuracy, cost."""
    others = {kind: ratio for kind, ratio in (result.cost_ratios or {}).items() if kind != "size"}
    return (
        f"{len(result.bits)} layers, {sum(result.parameters):,} weights: "
        f"{result.average_bits:.3f} bits a weight, {1 / result.size_ratio:.1f} times smaller than 32 bits; "
        f"{told_ratios(others)}{'; ' if others else ''}{accuracy(result)}; "
        f"{result.episodes} episodes, {result.evaluations:,.0f} evaluations, {result.seconds:.0f} s"
    )


def beside_accuracy(agreement: float | None, kl: float | None, loss: float | None) -> str:
    """Return a phrase that goes on after an accuracy; what is ``None`` is left out.

    Args:
        agreement: with the float network, in percent.
        kl: divergence from the float network, in nats.
        loss: cross-entropy with the labels, in nats.

    >>> beside_accuracy(97.5, 0.0651, None)
    ', agreement 97.50 %, KL 0.0651'
    """
    parts = [
        "" if agreement is None else f", agreement {agreement:.2f} %",
        "" if kl is None else f", KL {kl:.4f}",
        "" if loss is None else f", loss {loss:.4f}",
    ]
    return "".join(parts)


def accuracy(result: SearchResult) -> str:
    """The accuracy to report: on the test images if there are any, in percent, beside the float network's."""
    if result.test_accuracy is not None:
        reported = f"test accuracy {result.test_accuracy:.2f} % (float {result.float_test_accuracy:.2f} %)"
        return reported + beside_accuracy(result.test_agreement, result.test_kl, result.test_loss)
    if result.data == "data-free":
        return f"agreement with the float network {result.search_accuracy:.2f} % (data-free images)"
    return f"search accuracy {result.search_accuracy:.2f} % (float {result.float_search_accuracy:.2f} %)"
