"""Draw docs/family.png from benchmarks/results/family.csv.

    python -m benchmarks.family.figure

Divergence of each answer over the knapsack's on unseen networks, over the budget: geometric mean and 95 % interval over
networks and quantizers. Ablations, answers that are the better of two, and what is worse by more than a quarter in the
mean stand in the table alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from adrl_agents.runs import clean, png
from adrl_gym.files import write_whole
from benchmarks.family.policies import ABLATED
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.family_tables import interval, setting_means

_ROOT = Path(__file__).parents[2]
_WORST_SHOWN = 1.25  # ratio of divergences, in the mean over all settings
# Paul Tol's muted scheme, as in all figures.
_COLOURS = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#AA4499", "#44AA99", "#999933", "#882255")


@dataclass
class Options:
    """Options of the figure."""

    results: Path = _ROOT / "benchmarks" / "results"
    """Folder of family.csv."""
    output: Path = _ROOT / "docs" / "family.png"
    """File of the figure."""


def draw_family(rows: Sequence[Row]) -> Figure:
    """Return the figure; a method's points are side by side with the others'."""
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    axes = figure.subplots()
    budgets = sorted({row["budget"] for row in rows}, key=float)
    found = dict.fromkeys(row["method"] for row in rows)
    named = [name for name in found if name != "knapsack" and "+" not in name and name not in ABLATED]
    methods = [
        name for name in named if interval(setting_means([r for r in rows if r["method"] == name]))[0] < _WORST_SHOWN
    ]
    for index, method in enumerate(methods):
        of_budgets = [[row for row in rows if (row["method"], row["budget"]) == (method, b)] for b in budgets]
        places = [place for place, own in enumerate(of_budgets) if own]
        ratios = [interval(setting_means(of_budgets[place])) for place in places]
        shift = 0.7 * ((index + 0.5) / len(methods) - 0.5)
        axes.errorbar(
            [place + shift for place in places],
            [mean for mean, _, _ in ratios],
            yerr=[[mean - low for mean, low, _ in ratios], [high - mean for mean, _, high in ratios]],
            fmt="o",
            color=_COLOURS[index % len(_COLOURS)],
            capsize=2,
            label=method,
        )
    axes.axhline(1, color="black", linewidth=1, linestyle="--", label="knapsack on the table from gradients")
    axes.set_xticks(range(len(budgets)), budgets)
    axes.set_xlabel("budget: share of the 32-bit size")
    axes.set_ylabel("KL divergence over the knapsack's")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    clean(axes)
    return figure


def main(options: Options) -> None:
    """Draw the figure anew."""
    write_whole(options.output, png(draw_family(read_rows(options.results / "family.csv"))))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
