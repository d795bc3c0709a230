"""Speed of ONNX files whose linear layers are multiplied from packed integers, in onnxruntime.

    python -m benchmarks.hardware.linear_layers

Exports torchvision's AlexNet and ViT-B/16 with random weights at uniform bits, with and without ``linear="nbits"``,
and times both beside the float file. Writes benchmarks/results/linear_layers.csv. Nothing else should run.
"""

import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchvision
import tyro

from adrl_agents.runs import git_commit, write_rows
from adrl_gym.datasets import own_splits
from adrl_gym.export import LinearLayers, SpeedOptions, compare_speed, packed_layers, processor_name, save_onnx
from adrl_gym.problem import QuantProblem

_RESULTS = Path(__file__).parents[1] / "results"
_IMAGES = 16  # random ones
_PACKAGES = ("torch", "onnx", "onnxruntime")


@dataclass
class Options:
    """Options of the measurement."""

    networks: tuple[str, ...] = ("alexnet", "vit_b_16")
    """torchvision's names; the file has only theirs afterwards."""
    bits: tuple[int, ...] = (2, 4, 8)
    """Widths of all weights."""
    threads: tuple[int, ...] = (2, 1)
    """Threads of onnxruntime."""
    runs: int = 20
    """Timed runs of each file."""
    results: Path = _RESULTS
    """Folder of linear_layers.csv."""


def main(options: Options) -> None:
    """Write linear_layers.csv."""
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        torch.manual_seed(0)
        network, images = torchvision.models.get_model(name).eval(), torch.randn(_IMAGES, 3, 224, 224)
        splits = own_splits([(images, torch.zeros(_IMAGES, dtype=torch.long))], _IMAGES)
        problem = QuantProblem(network, splits, quantizer="linear", name=name)
        for bits in options.bits:
            for linear in ("float", "nbits"):
                rows += _measured(problem, bits, linear, options)
                write_rows(options.results / "linear_layers.csv", rows)


def _measured(problem: QuantProblem, bits: int, linear: LinearLayers, options: Options) -> list[dict[str, Any]]:
    """Export at one width and return a row for each number of threads."""
    quantized, images = problem.quantized((bits,) * len(problem.layers)), problem.splits.search.images
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        file, float_file = Path(folder) / "file.onnx", Path(folder) / "float.onnx"
        sizes = save_onnx(file, quantized, images, float_file=float_file, linear=linear)
        for threads in options.threads:
            speed = compare_speed(float_file, file, images[:1], SpeedOptions(options.runs, 3, threads))
            print(
                f"{problem.name}, {bits} bits, linear layers {linear}: {speed}", *(w.message for w in told), flush=True
            )
            rows.append(
                {
                    "network": problem.name,
                    "bits": bits,
                    "linear": linear,
                    "packed_layers": len(packed_layers(file)),
                    "threads": threads,
                    "float_ms": f"{speed.float_ms:.3f}",
                    "quantized_ms": f"{speed.quantized_ms:.3f}",
                    "speedup": f"{speed.factor:.3f}",
                    "float_bytes": sizes.float_bytes,
                    "file_bytes": sizes.file_bytes,
                    "processor": processor_name(),
                    **{package: version(package) for package in _PACKAGES},
                    "commit": git_commit(),
                }
            )
    return rows


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
