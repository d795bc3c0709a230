"""What a search prints at its end."""

from rich import box
from rich.table import Table

from adrl_agents.runs.result import SearchResult


def layer_table(result: SearchResult) -> Table:
    """A row for each layer: name, shape of the weights, their number, bits."""
    table = Table(title=f"Best of {result.episodes} configurations", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("bits", justify="right")
    table.add_column("")
    rows = zip(result.bits.items(), result.shapes.values(), result.parameters, strict=True)
    for (name, bits), shape, count in rows:
        table.add_row(name, " x ".join(str(size) for size in shape), f"{count:,}", str(bits), "=" * bits)
    return table


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
