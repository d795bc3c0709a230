"""Sweep ResNet20 over five budgets with ADRL, and refit every network that is found.

    python -m benchmarks.cluster.pareto --data-root D

Writes benchmarks/results/pareto_resnet20.csv and docs/howto/pareto-resnet20.png. It is one command of adrl-gym:

    adrl-gym sweep --data cifar10 --agents adrl --refit
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from adrl_agents.runs import write_rows
from adrl_agents.sweep import SweepOptions, run_sweep
from adrl_gym.files import write_whole
from benchmarks.harness.suites import ROOT


@dataclass
class Options:
    """Options of the sweep."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    runs: Path = Path("runs/benchmarks/pareto-resnet20")
    """Folder of the sweep; what is finished there is not searched again."""
    ray: str | None = None
    """Address of a Ray cluster, or local."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV file."""


def main(options: Options) -> None:
    sweep = SweepOptions(
        data="cifar10",
        data_root=options.data_root,
        agents=("adrl",),
        refit=True,
        output=options.runs,
        ray=options.ray,
    )
    write_rows(options.results / "pareto_resnet20.csv", run_sweep(sweep))
    picture = ROOT / "docs" / "howto" / "pareto-resnet20.png"
    write_whole(picture, (options.runs / "pareto.png").read_bytes())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
