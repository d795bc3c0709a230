"""Measure the times and sizes that the simulation of many workers starts from.

    python -m benchmarks.cluster.inputs

Writes benchmarks/results/ray_inputs.csv. All times are processor seconds, so that what else the machine does counts
little.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from torchvision.models import resnet50

from adrl_gym.cluster import RayConnection
from adrl_gym.datasets import Splits
from adrl_gym.datasets.images import ImageSet
from adrl_gym.problem import QuantProblem
from benchmarks.harness.csv_file import write_rows
from benchmarks.harness.suites import ROOT

_IMAGES, _REPEATS = 8, 3
_CALLS = 200


@dataclass
class Options:
    """Options of the measurement."""

    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV file."""


def processor_seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def resnet50_inputs() -> dict[str, float]:
    """Return seconds of ResNet50 on one core: a pass of one image, and the quantization at one bit-width; and sizes."""
    torch.manual_seed(0)
    images = torch.randn(_IMAGES, 3, 224, 224)  # (N, 3, 224, 224)
    network = resnet50().eval().to(memory_format=torch.channels_last)
    batch = images.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        passes = [processor_seconds(lambda: network(batch)) for _ in range(_REPEATS)]
    problem = QuantProblem(network, Splits(ImageSet(images, None), None, "noise"), quantizer="gptq")
    quantization = processor_seconds(lambda: problem.quantized([2] * len(problem.layers)))
    return {
        "resnet50_image_seconds": median(passes) / _IMAGES,
        "resnet50_quantization_seconds": quantization,
        "resnet50_weight_bytes": 4.0 * sum(problem.parameters),
        "resnet50_image_bytes": float(images[0].nbytes),
    }


def ray_inputs() -> dict[str, float]:
    """Return processor seconds of Ray: a worker's start with its imports; the driver's of an empty task and call."""
    with RayConnection("local", 2) as connection:
        ray = connection.ray
        start = ray.get(ray.remote(_started).remote())
        empty, actor = ray.remote(_nothing), ray.remote(_Nothing).remote()
        ray.get([empty.remote(), actor.call.remote()])
        task = processor_seconds(lambda: [ray.get(empty.remote()) for _ in range(_CALLS)]) / _CALLS
        call = processor_seconds(lambda: ray.get([actor.call.remote() for _ in range(_CALLS)])) / _CALLS
    return {"ray_worker_start_seconds": start, "ray_task_seconds": task, "ray_call_seconds": call}


def _started() -> float:
    """Return the processor time that a fresh worker uses until it can search."""
    import_module("adrl_agents.search")
    return time.process_time()


def _nothing() -> None:
    """Do nothing."""


class _Nothing:
    """Actor that does nothing."""

    def call(self) -> None:
        """Do nothing."""


def main(options: Options) -> None:
    torch.set_num_threads(1)
    found = {**resnet50_inputs(), **ray_inputs()}
    write_rows(
        options.results / "ray_inputs.csv",
        [{"name": name, "value": f"{value:.6g}", "torch": torch.__version__} for name, value in found.items()],
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
