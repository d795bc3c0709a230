"""Measure how long a network's layers take on this machine.

The table is for budgets of latency:

    adrl-gym latency-table --network resnet20 --output table.csv
    adrl-gym adrl --budget latency=0.5 --cost-table table.csv --activations 8
    adrl-gym latency-table --network resnet20 --check table.csv

Each distinct layer runs in onnxruntime, in float and in integers. A network is written once it is measured; networks
that the table has are left alone. --check runs whole networks and prints predicted beside measured.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from adrl_agents.options import picked_output
from adrl_agents.runs import write_rows
from adrl_gym.costs import CostTable
from adrl_gym.datasets import own_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.export import LayerSpeedOptions, Prediction, SpeedOptions, build_table, check_table
from adrl_gym.models import LoadedNetwork, load_network
from adrl_gym.problem import QuantProblem

_SPEED = LayerSpeedOptions()


@dataclass(frozen=True, kw_only=True)
class LatencyTableOptions:
    """Options of the measurement."""

    network: tuple[str, ...]
    """Networks: torchvision:NAME, timm:NAME, FILE.py:FACTORY (a function without arguments), or names as resnet20."""
    output: Path | None = None
    """The CSV file to write, or to add layers to."""
    check: Path | None = None
    """CSV file to check instead: run the whole networks, and print predicted beside measured milliseconds."""
    activations: Literal["float", 8] = "float"
    """Activations of the networks that are checked: float, or integers of 8 bits."""
    results: Path | None = None
    """CSV file for what the check prints."""
    image_size: int | None = None
    """Height and width of the images; without it, what the networks say."""
    logits: str | None = None
    """Key, attribute or index of the networks' output that holds the logits, where they return more."""
    rounds: int = _SPEED.rounds
    """Turns of all bit-widths, or of the files that are checked."""
    runs: int = _SPEED.runs
    """Runs of the network's layers in each turn, or of the files."""
    threads: int = _SPEED.threads
    """Threads of onnxruntime."""

    def validate(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        if (self.output is None) == (self.check is None):
            raise AdrlGymError("give output to build a table, or check to check one", parameter=("output", "check"))
        if self.output is not None and self.output.suffix != ".csv":
            raise AdrlGymError(f"output must end in .csv, got {self.output}", parameter="output")
        if self.results is not None and self.check is None:
            raise AdrlGymError("results are of a check: give check as well", parameter="results")
        if self.activations != "float" and self.check is None:
            raise AdrlGymError("a table has both kinds of activations: give check as well", parameter="activations")
        for name in ("rounds", "runs", "threads", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {value}", parameter=name)


OPTIONS = LatencyTableOptions


def main(options: LatencyTableOptions) -> None:
    """Build a table, or check one."""
    options.validate()
    found: list[Prediction] = []
    table = None if options.check is None else CostTable.load(options.check)
    for name in options.network:
        problem = _problem(load_network(name).with_output(picked_output(options.logits)), options)
        if table is not None:
            speed = SpeedOptions(runs=options.rounds * options.runs, threads=options.threads)
            found += check_table(table, problem.quantized((8,) * len(problem.layers)), problem.layers, speed)
        elif options.output is not None:
            settings = LayerSpeedOptions(rounds=options.rounds, runs=options.runs, threads=options.threads)
            made = build_table(problem.network, problem.layers, options.output, settings)
            milliseconds = made.milliseconds(problem.layers, None)
            print(f"{options.output}: {problem.name} takes {milliseconds:.3f} ms in float, the sum of its layers")
    for case in found:
        times = f"predicted {case.predicted_ms:.3f} ms, measured {case.measured_ms:.3f} ms"
        print(f"{case.network}: {times} ({case.error:+.1%})")
    if options.results is not None:
        header = [field.name for field in fields(Prediction)]
        rows = [[case.network, f"{case.predicted_ms:.4f}", f"{case.measured_ms:.4f}"] for case in found]
        write_rows(options.results, [dict(zip(header, row, strict=True)) for row in rows])


def _problem(loaded: LoadedNetwork, options: LatencyTableOptions) -> QuantProblem:
    """Return the network with its layers, on random images: times depend on neither."""
    size = options.image_size
    shape = loaded.preprocessing().shape if size is None else (3, size, size)
    images = torch.rand(2, *shape)  # (N, C, H, W)
    splits = own_splits([(images, torch.zeros(2, dtype=torch.long))])
    network, name, activations = loaded.network, loaded.name, options.activations
    return QuantProblem(
        network, splits, quantizer="linear", budget=1.0, bits=(8, 8), name=name, activations=activations
    )
