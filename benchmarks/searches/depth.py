"""Count the evaluations that ADRL's indicator takes as a network gets deeper.

    python -m benchmarks.searches.depth

CIFAR ResNets of 20, 56 and 110 layers (measured: 20 and 56), random weights and images: the work is the same, and no
accuracy is told. Writes benchmarks/results/depth.csv, with the evaluations until the first configuration is measured
and until the indicator has no more to propose or its 40 evaluations are spent, and draws figures/depth.png.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure

from adrl_agents.adrl import ProfilingIndicator
from adrl_agents.options import ADRLOptions
from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.models.resnet import CifarResNet
from adrl_gym.problem import QuantProblem
from adrl_gym.sensitivity import Sensitivity
from benchmarks.harness.csv_file import write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_LAYERS: dict[Sensitivity, tuple[int, ...]] = {"gradient": (20, 56, 110), "measured": (20, 56)}


@dataclass
class Options:
    """Options of the count."""

    images: int = 200
    """Search images; evaluations are counted in passes over them."""
    results: Path = _RESULTS
    """Folder of depth.csv."""


def count(layers: int, sensitivity: Sensitivity, images: int) -> dict[str, Any]:
    """Return one row."""
    torch.manual_seed(0)
    network = CifarResNet(blocks=(layers - 2) // 6)
    search = ImageSet(torch.randn(images, 3, 32, 32), None)
    with torch.no_grad():
        for _ in range(20):
            network(search.images)  # statistics of batch norm, or predictions would all be certain
    problem = QuantProblem(network.eval(), Splits(search, None, "random"), quantizer="linear", budget=0.0625)
    limit = ADRLOptions.evaluations if sensitivity == "gradient" else None
    if limit is not None:
        problem.most_evaluations = limit
    indicator, first = ProfilingIndicator(sensitivity=sensitivity), None
    while problem.evaluations + 1 <= problem.most_evaluations and indicator.propose(problem):
        bits = indicator.answer(problem)
        problem.evaluate(bits)
        first = first or problem.evaluations
        if sensitivity == "measured":
            break  # what comes after is as long for every incumbent
        indicator.update(problem, bits)
    assert first is not None
    return {
        "network": f"CifarResNet{layers}",
        "layers": len(problem.layers),
        "sensitivity": sensitivity,
        "first_evaluations": round(first, 2),
        "evaluations": round(problem.evaluations, 2) if sensitivity == "gradient" else None,
        "images": images,
        "torch": torch.__version__,
        "commit": git_commit(),
    }


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw evaluations to the first configuration over layers."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for sensitivity, marker in (("measured", "s"), ("gradient", "o")):
        chosen = [row for row in rows if row["sensitivity"] == sensitivity]
        layers, evaluations = ([row[name] for row in chosen] for name in ("layers", "first_evaluations"))
        axes.plot(layers, evaluations, marker=marker, label=sensitivity)
    axes.set(xlabel="layers", ylabel="evaluations to the first configuration", ylim=(0, None))
    axes.legend(frameon=False, title="sensitivity")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(options: Options) -> None:
    """Write the file and the figure anew."""
    rows = []
    for sensitivity, depths in _LAYERS.items():
        for layers in depths:
            rows.append(count(layers, sensitivity, options.images))
            print(*rows[-1].values(), flush=True)
    write_rows(options.results / "depth.csv", rows)
    draw(rows).savefig(options.results / "figures" / "depth.png", dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
