"""The picture of a sweep: accuracy against size, bit operations, or what else the budgets limit."""

import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from adrl_agents.registry import AGENTS
from adrl_agents.runs import Row, clean
from adrl_agents.sweep.table import accuracy_column
from adrl_gym.costs import KINDS

_MARKERS = "osD^vPX*<>hdp"  # agents are told apart without colour, too


def draw_front(rows: Sequence[Row], name: str) -> Figure:
    """Draw a line for each agent: the median over seeds at each budget; dashed after the refit.

    Args:
        rows: of the table of a sweep, one at least.
        name: of the sweep, for the title.
    """
    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    axes = figure.subplots()
    accuracy = accuracy_column(rows)
    for agent, marker in zip(dict.fromkeys(row["agent"] for row in rows), _MARKERS * len(AGENTS), strict=False):
        own = [row for row in rows if row["agent"] == agent]
        look = AGENTS[agent]
        for column, line, suffix in ((accuracy, "-", ""), (f"refit_{accuracy}", "--", ", refitted")):
            shares, medians = _medians(own, column)
            if shares:
                label = f"{look.label}{suffix}"
                axes.plot(shares, medians, line, label=label, color=look.colour, marker=marker, lw=1.8, ms=5)
    axes.axhline(
        float(rows[0][f"float_{accuracy}"]), color="black", linewidth=1.2, linestyle=":", label="float network"
    )
    kind = rows[0]["budget_kind"]
    axes.set_xlabel(f"share of the {KINDS[kind]} (%)")
    axes.set_ylabel(_axis_name(accuracy, rows[0]["data"]))
    clean(axes)
    seeds = len({row["seed"] for row in rows})
    over = f"median over {seeds} seeds" if seeds > 1 else f"seed {rows[0]['seed']}"
    figure.suptitle(f"{name}: accuracy against {kind}\n{over}", x=0.01, ha="left", fontsize=10)
    figure.legend(
        *axes.get_legend_handles_labels(),
        ncols=3,
        fontsize=8,
        frameon=False,
        handlelength=4,
        loc="outside lower center",
    )
    return figure


def _axis_name(accuracy: str, data: str) -> str:
    if accuracy == "search_accuracy" and data == "data-free":
        return "agreement with the float network (%)"
    return f"{accuracy.replace('_', ' ')} (%)"


def _medians(rows: Sequence[Row], column: str) -> tuple[list[float], list[float]]:
    """Return costs in percent of the float network's and medians of a column at each budget, in rising order."""
    by_budget: dict[str, list[Row]] = {}
    for row in rows:
        if row[column]:
            by_budget.setdefault(row["budget"], []).append(row)
    points = sorted(
        [statistics.median(float(row[name]) for row in found) for name in ("cost_ratio", column)]
        for found in by_budget.values()
    )
    return [100 * share for share, _ in points], [value for _, value in points]
