"""Accuracy of ResNet20 against bit operations and against measured latency, for four agents.

    python -m benchmarks.hardware.fronts

Takes the configurations of benchmarks/results/activations.csv whose search chose bits of weights and of activations.
Exports one of each agent and budget as ONNX with integers, times it in turns with the float file in onnxruntime, and
replaces benchmarks/results/fronts.csv and docs/howto/fronts-resnet20.png. Latency depends on no weight and no image, so
the weights are rounded to nearest and the images random. Beside other work, trust the ratios of the latencies alone.
"""

import itertools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from adrl_agents.registry import AGENTS
from adrl_agents.runs import Row, git_commit, png, read_rows, write_rows
from adrl_gym.datasets import own_splits
from adrl_gym.export import SpeedOptions, compare_speed, processor_name, save_integer_onnx
from adrl_gym.files import write_whole
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from benchmarks.hardware.front_figure import draw_fronts
from benchmarks.harness.suites import ROOT
from benchmarks.reporting.activation_tables import SEARCHED
from benchmarks.reporting.table_format import values

_IMAGES = 16  # random ones, to calibrate on


@dataclass
class Options:
    """Options of the measurement."""

    runs: int = 200
    """Timed runs of each file, on one thread."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of activations.csv, and of fronts.csv."""
    picture: Path = ROOT / "docs" / "howto" / "fronts-resnet20.png"
    """File of the figure."""


def main(options: Options) -> None:
    """Write fronts.csv and the figure."""
    images = torch.rand(_IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # (N, C, H, W)
    splits = own_splits([(images, torch.zeros(len(images), dtype=torch.long))], len(images))
    network = load_network("resnet20").network
    problem = QuantProblem(
        network, splits, quantizer="linear", budget={"bitops": 1.0}, activations="search", name="resnet20"
    )
    found = [row for row in read_rows(options.results / "activations.csv") if row["activation_bits"] == SEARCHED]
    found.sort(key=lambda row: (-float(row["budget"]), list(AGENTS).index(row["agent"]), int(row["seed"])))
    rows = []
    for _, group in itertools.groupby(found, key=lambda row: (row["budget"], row["agent"])):
        rows.append(front_row(problem, list(group), options.runs))
        print(*rows[-1].values(), flush=True)
    write_rows(options.results / "fronts.csv", rows)
    write_whole(options.picture, png(draw_fronts(rows)))


def front_row(problem: QuantProblem, found: Sequence[Row], runs: int) -> Row:
    """Return the row of one agent and budget: accuracies and bit operations of all seeds, latency of the first one.

    Args:
        problem: with searched activations, under a budget of bit operations.
        found: rows of activations.csv, one a seed.
        runs: timed runs of each file.
    """
    configurations = [tuple(map(int, row["bits"].split())) for row in found]
    accuracies = values(found, "test_accuracy")
    images = problem.splits.search.images  # (N, C, H, W)
    with tempfile.TemporaryDirectory() as folder:
        file, float_file = Path(folder) / "integer.onnx", Path(folder) / "float.onnx"
        save_integer_onnx(file, problem.quantized(configurations[0]), images, float_file=float_file)
        speed = compare_speed(float_file, file, images[:1], SpeedOptions(runs, 5, threads=1))
    return {
        **{name: found[0][name] for name in ("network", "budget", "agent", "float_test_accuracy")},
        "seeds": str(len(found)),
        "test_accuracy": f"{statistics.mean(accuracies):.4f}",
        "lowest_test_accuracy": f"{min(accuracies):.4f}",
        "highest_test_accuracy": f"{max(accuracies):.4f}",
        "bitops_ratio": f"{statistics.mean(problem.cost_ratios(bits)['bitops'] for bits in configurations):.6f}",
        "float_ms": f"{speed.float_ms:.4f}",
        "quantized_ms": f"{speed.quantized_ms:.4f}",
        "latency_ratio": f"{speed.quantized_ms / speed.float_ms:.4f}",
        "processor": processor_name(),
        "commit": str(git_commit()),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
