"""The pictures of a search.

Drawn without pyplot, so that nothing global changes and no display is needed.
"""

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from adrl_agents.runs.history import Episode
from adrl_agents.runs.result import SearchResult
from adrl_agents.runs.summary import accuracy
from adrl_gym.costs import FLOAT_BITS, limits_of, told_ratios

# Told apart by the colour-blind too (Paul Tol's bright scheme).
BLUE, CYAN, RED, GREY = "#4477AA", "#66CCEE", "#EE6677", "#999999"
_COLOURS = {"convolution": BLUE, "1 x 1 convolution": CYAN, "linear": RED}


def draw_bits(result: SearchResult) -> Figure:
    """Bit-width of every layer, and below it the share of the weights that the layer holds."""
    layers, bits, parameters = list(result.bits), list(result.bits.values()), result.parameters
    limit = limits_of(result.options["budget"]).get("size")
    kinds = [_kind(shape) for shape in result.shapes.values()]
    at = range(len(layers))
    figure = Figure(figsize=(max(7.0, 2.2 + 0.32 * len(layers)), 5.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))

    bars = top.bar(at, bits, color=[_COLOURS[kind] for kind in kinds], width=0.8)
    top.bar_label(bars, padding=2, fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    lines = []
    if limit is not None:
        budget = FLOAT_BITS * limit  # bits a weight
        label = f"budget: {budget:.3g} bits a weight"
        lines = [top.axhline(budget, color="black", linewidth=1, linestyle="--", label=label)]
    highest = max(*bits, FLOAT_BITS * (limit or 0))
    if result.activation_bits is not None:
        inputs = [math.nan if b == FLOAT_BITS else b for b in result.activation_bits.values()]
        lines += top.plot(at, inputs, "D", color="black", markersize=5, markerfacecolor="white", label="input")
        highest = max([highest, *inputs], key=lambda b: -1.0 if math.isnan(b) else b)
    top.set_ylim(0, highest + 0.6)
    top.yaxis.set_major_locator(MaxNLocator(integer=True))
    top.set_ylabel("bits")

    bottom.bar(at, [100 * count / sum(parameters) for count in parameters], color=GREY, width=0.8)
    bottom.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    bottom.set_ylabel("weights")
    bottom.set_xticks(at, layers, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    bottom.set_xlim(-0.7, len(layers) - 0.3)

    clean(top)
    clean(bottom)
    patches = [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items() if kind in kinds]
    figure.legend(handles=[*patches, *lines], ncols=4, fontsize=8, frameon=False, loc="outside lower center")
    size = f"{result.average_bits:.2f} bits a weight, {1 / result.size_ratio:.1f} times smaller than 32 bits"
    if others := {kind: ratio for kind, ratio in (result.cost_ratios or {}).items() if kind != "size"}:
        size += f", {told_ratios(others)}"
    title(figure, result, f"{size}\n{accuracy(result)}")
    return figure


def draw_curve(result: SearchResult, episodes: Sequence[Episode]) -> Figure:
    """Accuracy of every configuration tried and of the best so far, over episodes and over evaluations."""
    tried = [episode.accuracy for episode in episodes]
    best = [episode.best_accuracy for episode in episodes]
    by_episode: list[float] = [episode.episode for episode in episodes]
    by_evaluations = [episode.evaluations for episode in episodes]
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    for axes, x in zip(panels, (by_episode, by_evaluations), strict=True):
        axes.scatter(x, tried, s=16, color=BLUE, alpha=0.55, linewidths=0, label="configuration tried")
        axes.step(
            x, best, where="post", color=RED, linewidth=2, label="best so far, by agreement with the float network"
        )
        axes.axhline(result.float_search_accuracy, color="black", linewidth=1, linestyle="--", label="float network")
        axes.set_xlim(0, 1.03 * max([1, *x]))  # a warm cache has answered all: 0 evaluations
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        clean(axes)
    panels[0].set_xlabel("episodes")
    panels[1].set_xlabel("evaluations (passes over the search images)")
    panels[0].set_ylabel("agreement with float (%)" if result.data == "data-free" else "search accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, fontsize=8, frameon=False, loc="outside lower center")
    title(figure, result, f"best of {len(episodes)} configurations: {result.search_accuracy:.2f} %")
    return figure


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _kind(shape: Sequence[int]) -> str:
    if len(shape) == 2:
        return "linear"
    return "1 x 1 convolution" if tuple(shape[2:]) == (1, 1) else "convolution"


def title(figure: Figure, result: SearchResult, text: str) -> None:
    """Write the run and one line of text above a figure."""
    run = f"{result.env_id}, {result.agent}, seed {result.seed}"
    figure.suptitle(f"{run}\n{text}", x=0.01, ha="left", fontsize=10)


def clean(axes: Axes) -> None:
    """Leave out the lines of a panel that carry nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
