"""Draw the figures of the evaluation from the CSV files of benchmarks/results, each as PNG and SVG.

    python -m benchmarks.reporting.figures

For every setting of runs.csv in which HAQ ran: ``curves`` (search accuracy over episodes and over evaluations),
``learning`` (what it takes to get where HAQ ends), ``bits`` (bit-widths of every layer); and ``pareto`` (test accuracy
against size) for every network. ``finetuning`` (test accuracy over epochs) for every setting of finetune.csv.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from benchmarks.experiments.finetuned import finetunings, groups, mean_curve
from benchmarks.harness.csv_file import Row
from benchmarks.harness.suites import PARETO_AGENTS, ROOT
from benchmarks.reporting.styles import STYLES, best_at, drawn_agents, of, own_length, read_defaults

_NETWORKS = {"resnet20": "ResNet20", "cifarnet": "CifarNet"}


def draw_curves(curves: Sequence[Row], runs: Sequence[Row], title: str) -> Figure:
    """Search accuracy of the best so far over episodes and over evaluations: mean and range over seeds."""
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    floors = []
    for axes, x, label in zip(
        panels, ("episode", "evaluations"), ("episodes", "evaluations (passes over the search images)"), strict=True
    ):
        last = max(float(row[x]) for row in curves)
        for agent in drawn_agents(curves):
            style, found = STYLES[agent], own_length(curves, agent)
            seeds = [of(found, seed=seed) for seed in sorted({row["seed"] for row in found})]
            first = max(float(curve[0][x]) for curve in seeds)
            end = max(float(curve[-1][x]) for curve in seeds)
            if max(int(curve[-1]["episode"]) for curve in seeds) < 3:  # one configuration, or two: a point
                if x == "evaluations":
                    accuracy = statistics.mean(float(curve[-1]["best_accuracy"]) for curve in seeds)
                    axes.plot(
                        end, accuracy, style.marker, color=style.colour, label=style.name, ms=7, mec="white", zorder=4
                    )
                    floors.append(accuracy)
                continue
            points = np.unique(np.concatenate([np.geomspace(first, end, 200), [end]]))  # (P,)
            best = np.stack([best_at(curve, x, points) for curve in seeds])  # (seeds, P)
            mean = best.mean(axis=0)  # (P,)
            width = 2.6 if agent in ("adrl", "haq") else 1.5
            axes.plot(points, mean, style.line, color=style.colour, lw=width, label=f"{style.name} (n={len(seeds)})")
            axes.plot(points[-1], mean[-1], style.marker, color=style.colour, ms=5)
            axes.fill_between(points, best.min(axis=0), best.max(axis=0), color=style.colour, alpha=0.18, lw=0)
            floors.append(float(mean[-1]))
        reference = float(runs[0]["float_search_accuracy"])
        axes.axhline(reference, color="black", lw=1.2, ls="--", label="float network")
        axes.set_xscale("log")
        axes.set_xlim(0.9, 1.1 * last)
        plain_numbers(axes, 1.1 * last)
        axes.set_xlabel(label)
        tidy(axes)
    room = 1.4 * (reference - min(floors))  # from the worst end upwards: the way there matters less
    panels[0].set_ylim(max(0.0, min(floors) - 0.5 * room), reference + 0.1 * room)
    panels[0].set_ylabel("search accuracy of the best so far (%)")
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, fontsize=8, frameon=False, loc="outside lower center")
    heading(figure, title, "mean over seeds, shaded from the lowest to the highest")
    return figure


def draw_learning(learning: Sequence[Row], title: str) -> Figure:
    """Bars of what each agent takes to get where HAQ ends: the median over seeds, and every seed as a point."""
    agents = drawn_agents(learning)
    figure = Figure(figsize=(10.0, 1.7 + 0.3 * len(agents)), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    measures = {"episodes": "episodes", "evaluations": "evaluations"}
    if any(row["cpu_seconds"] for row in learning):  # without the seeds of before it was measured
        measures["cpu_seconds"] = "processor seconds"
    else:
        measures["seconds"] = "seconds on a shared machine"
    for axes, (measure, label) in zip(panels, measures.items(), strict=True):
        reached = [float(row[measure]) for row in learning if row[measure]]
        low, high = 0.6 * min([1.0, *reached]), 4 * max(reached, default=1.0)  # one episode has a bar, too
        for place, agent in enumerate(agents):
            rows = of(learning, agent=agent)
            values = [float(row[measure]) for row in rows if row[measure]]
            never = sum(not row["episodes"] for row in rows)
            if values:
                # A seed that never gets there counts as longer than all others.
                median = statistics.median([*values, *[np.inf] * never])
                if np.isfinite(median):
                    axes.barh(place, median - low, left=low, color=STYLES[agent].colour, height=0.7)
                axes.plot(values, [place] * len(values), "o", color="white", mec="black", ms=4, mew=0.8)
            note = f"{len(values)} of {len(values) + never}" if values else f"none of {never}" if never else "not timed"
            axes.text(high * 0.93, place, note, ha="right", va="center", fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        plain_numbers(axes, high)
        axes.set_xlabel(label)
        tidy(axes, grid="x")
    panels[0].set_yticks(range(len(agents)), [STYLES[agent].name for agent in agents])
    panels[0].set_ylim(len(agents) - 0.4, -0.6)
    target = float(learning[0]["target_accuracy"])
    heading(
        figure,
        title,
        f"until the search accuracy is {target:.2f} %, where HAQ ends; bars: median, points: seeds, right: seeds that "
        "get there",
    )
    return figure


def draw_bits_figure(runs: Sequence[Row], title: str) -> Figure:
    """Bit-widths of every layer, a row for each agent: its seed with the median test accuracy."""
    agents = drawn_agents(runs)
    chosen = []
    for agent in agents:
        found = sorted(own_length(runs, agent), key=lambda row: float(row["test_accuracy"]))
        chosen.append(found[(len(found) - 1) // 2])
    bits = np.array([[int(b) for b in row["bits"].split()] for row in chosen])  # (agents, layers)
    figure = Figure(figsize=(max(6.5, 3.8 + 0.32 * bits.shape[1]), 1.5 + 0.32 * len(agents)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(bits, cmap="cividis", vmin=1, vmax=8, aspect="auto")
    for place, row in enumerate(bits):
        for layer, b in enumerate(row):
            axes.text(layer, place, str(b), ha="center", va="center", color="white" if b < 5 else "black", fontsize=8)
    axes.set_xticks(range(bits.shape[1]), [str(layer + 1) for layer in range(bits.shape[1])], fontsize=8)
    axes.set_xlabel("layer, in forward order")
    axes.set_yticks(
        range(len(agents)),
        [f"{STYLES[a].name}: {float(r['test_accuracy']):.2f} %" for a, r in zip(agents, chosen, strict=True)],
        fontsize=8,
    )
    axes.set_xticks(np.arange(bits.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(agents) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    heading(figure, title, "bit-widths found, with test accuracy (of several seeds, the median one)")
    return figure


def draw_pareto(runs: Sequence[Row], title: str) -> Figure:
    """Test accuracy against size: the median over seeds at each budget."""
    figure = Figure(figsize=(6.5, 4.3), layout="constrained")
    axes = figure.subplots()
    budgets = sorted({float(row["budget"]) for row in runs})
    for agent in (a for a in STYLES if a in PARETO_AGENTS):
        points = []
        for budget in sorted({row["budget"] for row in of(runs, agent=agent)}, key=float):
            found = own_length(of(runs, budget=budget), agent)
            points.append(
                [statistics.median(float(r[name]) for r in found) for name in ("size_ratio", "test_accuracy")]
            )
        if points:
            style, (sizes, accuracies) = STYLES[agent], zip(*points, strict=True)
            axes.plot(sizes, accuracies, style.line, marker=style.marker, color=style.colour, label=style.name, lw=1.8)
    axes.axhline(float(runs[0]["float_test_accuracy"]), color="black", lw=1.2, ls="--", label="float network")
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.set_xlabel("size of the weights over their size in 32 bits (a 32nd is one bit a weight)")
    axes.set_ylabel("test accuracy (%)")
    figure.legend(*axes.get_legend_handles_labels(), ncols=3, fontsize=9, frameon=False, loc="outside lower center")
    tidy(axes)
    heading(figure, title, "median over seeds")
    return figure


def draw_finetuning_figure(rows: Sequence[Row], title: str) -> Figure:
    """Test accuracy over epochs, mean over seeds; dotted lines begin with directly quantized weights."""
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    for (agent, start), chosen in groups(rows):
        style, curve, seeds = STYLES[agent], mean_curve(chosen), len({row["seed"] for row in chosen})
        line, marker = ("-", "o") if start == "refit" else (":", "s")
        label = f"{style.name}, {start} (n={seeds})"
        axes.plot(range(len(curve)), curve, line, marker=marker, color=style.colour, ms=4, lw=1.8, label=label)
    axes.axhline(float(rows[0]["float_test_accuracy"]), color="black", lw=1.2, ls="--", label="float network")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epochs")
    axes.set_ylabel("test accuracy (%)")
    tidy(axes)
    figure.legend(*axes.get_legend_handles_labels(), ncols=3, fontsize=8, frameon=False, loc="outside lower center")
    heading(figure, title, "from directly quantized and from refitted weights, mean over seeds")
    return figure


def plain_numbers(axes: Axes, most: float) -> None:
    """1, 3, 10, 30, ... on a logarithmic axis instead of powers."""
    ticks = [m * 10**power for power in range(6) for m in (1, 3) if m * 10**power <= most]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def tidy(axes: Axes, grid: str = "y") -> None:
    """A light grid behind the data, and no box around it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if grid == "x" else "y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)


def heading(figure: Figure, title: str, text: str) -> None:
    """Two lines at the left above a figure."""
    figure.suptitle(f"{title}\n{text}", x=0.01, ha="left", fontsize=10)


def all_figures(results: Path) -> dict[str, Figure]:
    """Every figure that the CSV files of a folder allow, by name."""
    runs, curves, learning = (read_defaults(results / f"{name}.csv") for name in ("runs", "curves", "learning"))
    drawn: dict[str, Figure] = {}
    for network, quantizer, budget in sorted(
        {(r["network"], r["quantizer"], r["budget"]) for r in of(runs, agent="haq")}
    ):
        setting = {"network": network, "quantizer": quantizer, "budget": budget}
        name = f"{network}-{quantizer}-{budget}"
        bits = f"{32 * float(budget):g}"
        title = f"{_NETWORKS[network]}, {quantizer}, {budget} of the 32-bit size ({bits} bits a weight)"
        drawn[f"curves-{name}"] = draw_curves(of(curves, **setting), of(runs, **setting), title)
        if there := of(learning, **setting):  # not before HAQ has run to its end
            drawn[f"learning-{name}"] = draw_learning(there, title)
        drawn[f"bits-{name}"] = draw_bits_figure(of(runs, **setting), title)
    for network in sorted({row["network"] for row in runs}):
        gptq = of(runs, network=network, quantizer="gptq")
        if len({row["budget"] for row in gptq}) > 1:
            drawn[f"pareto-{network}"] = draw_pareto(gptq, f"{_NETWORKS[network]}, gptq")
    rows = finetunings(results)
    for network, budget in sorted({(row["network"], row["budget"]) for row in of(rows, agent="haq")}):
        title = f"{_NETWORKS[network]}, finetuned at {budget} of the 32-bit size ({32 * float(budget):g} bits a weight)"
        drawn[f"finetuning-{network}-{budget}"] = draw_finetuning_figure(
            of(rows, network=network, budget=budget), title
        )
    return drawn


@dataclass
class Options:
    """Options of the figures."""

    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""
    output: Path = ROOT / "benchmarks" / "results" / "figures"
    """Folder of the figures."""


def main(options: Options) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    # The same figure is the same file: no dates, no random names of elements, text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "adrl-gym", "svg.fonttype": "none"})
    for name, figure in all_figures(options.results).items():
        figure.savefig(options.output / f"{name}.png", dpi=150, metadata={"Software": None})
        figure.savefig(options.output / f"{name}.svg", metadata={"Date": None})
        print(options.output / f"{name}.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
