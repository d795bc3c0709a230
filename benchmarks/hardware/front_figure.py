"""The figure of fronts.csv: accuracy against bit operations, and against measured latency."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from adrl_agents.registry import AGENTS
from adrl_agents.runs import Row, clean
from benchmarks.reporting.styles import STYLES

_STYLES = {
    **STYLES,
    "haq": STYLES["haq"]._replace(marker="s"),  # beside ADRL's
    "ip": STYLES["ip-kl"]._replace(name=AGENTS["ip"].label),
}


def draw_fronts(rows: Sequence[Row]) -> Figure:
    """Return the figure: costs as shares of the float network's, means over seeds, bars from the lowest to the highest.

    Args:
        rows: of fronts.csv; one at least.
    """
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    operations, latency = figure.subplots(1, 2, sharey=True)
    for agent in dict.fromkeys(row["agent"] for row in rows):
        own = sorted((row for row in rows if row["agent"] == agent), key=lambda row: float(row["bitops_ratio"]))
        name, colour, line, marker = _STYLES[agent]
        means, low, high = (
            [float(row[f"{which}test_accuracy"]) for row in own] for which in ("", "lowest_", "highest_")
        )
        spread = [
            [mean - least for mean, least in zip(means, low, strict=True)],
            [most - mean for mean, most in zip(means, high, strict=True)],
        ]
        for axes, column, joined in ((operations, "bitops_ratio", line), (latency, "latency_ratio", "")):
            axes.errorbar(
                [100 * float(row[column]) for row in own],
                means,
                yerr=spread,
                color=colour,
                marker=marker,
                markersize=6,
                linestyle=joined,
                linewidth=1.5,
                capsize=2,
                label=name,
            )
    best = float(rows[0]["float_test_accuracy"])
    for axes in (operations, latency):
        axes.axhline(best, color="black", linewidth=1, linestyle=":", label="float network")
        clean(axes)
    latency.plot([100], [best], "k*", markersize=10, clip_on=False)
    latency.set_xlim(0, 102)
    operations.set_xlabel("bit operations (% of the float network's)")
    latency.set_xlabel("measured latency (% of the float network's)")
    operations.set_ylabel("test accuracy (%)")
    handles = operations.get_legend_handles_labels()
    figure.legend(*handles, ncols=5, fontsize=8, frameon=False, loc="outside lower center")
    return figure
