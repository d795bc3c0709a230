"""Speed of ONNX files with quantized activations beside float ones, in onnxruntime.

    python -m benchmarks.hardware.runtime --data-root D

Exports torchvision's MobileNetV2 and ResNet18 with random weights, EfficientNet-Lite1 with its ImageNet weights
(benchmarks/searches/efficientnet.py) and the shipped ResNet20. Times each file in turns with the float one, and
replaces benchmarks/results/runtime.csv. Of ResNet20, it counts the CIFAR-10 test images that onnxruntime and
``QuantizedNetwork.simulate`` predict alike. Nothing else should run on the machine.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import torch
import torchvision
import tyro
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adrl_agents.runs import git_commit, write_rows
from adrl_gym.datasets import ImageSet, load_splits, own_splits
from adrl_gym.export import SpeedOptions, compare_speed, integer_operators, processor_name, save_integer_onnx
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from benchmarks.searches.efficientnet import efficientnet_lite1

_RESULTS = Path(__file__).parents[1] / "results"
_CALIBRATION = 16  # random images, of networks whose accuracy is not measured
_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxscript")


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path | None = None
    """Folder that holds cifar-10-batches-py; without it, $ADRL_GYM_DATA and the default cache are looked at."""
    runs: int = 100
    """Timed runs of each file."""
    batches: tuple[int, ...] = (1, 8)
    """Images a run."""
    threads: tuple[int, ...] = (2, 1)
    """Threads of onnxruntime."""
    networks: tuple[str, ...] = ("mobilenet_v2", "resnet18", "efficientnet_lite1", "resnet20")
    """Networks, of these four; the file has only theirs afterwards."""
    results: Path = _RESULTS
    """Folder of runtime.csv."""


def main(options: Options) -> None:
    """Write runtime.csv."""
    rows = [row for name in options.networks for bits in _WEIGHT_BITS[name] for row in _measured(name, bits, options)]
    write_rows(options.results / "runtime.csv", rows)


def _measured(name: str, bits: int, options: Options) -> Iterator[dict[str, Any]]:
    """Export a network with weights of one width and give a row for each batch and number of threads."""
    problem, test = _resnet20(options.data_root) if name == "resnet20" else _untested(name)
    quantized, images = problem.quantized((bits,) * len(problem.layers)), problem.splits.search.images
    with tempfile.TemporaryDirectory() as folder:
        file, float_file = Path(folder) / "integer.onnx", Path(folder) / "float.onnx"
        sizes = save_integer_onnx(file, quantized, images, float_file=float_file)
        operators = integer_operators(file)
        equal = _equal_predictions(file, quantized.simulate(images), test) if len(test) else ""
        for batch in options.batches:
            for threads in options.threads:
                speed = compare_speed(float_file, file, images[:batch], SpeedOptions(options.runs, 5, threads))
                print(f"{name}, weights of {bits} bits: {speed}", flush=True)
                yield {
                    "network": name,
                    "batch": batch,
                    "threads": threads,
                    "weight_bits": bits,
                    "activation_bits": 8,
                    "runtime": "onnxruntime",
                    "float_ms": f"{speed.float_ms:.3f}",
                    "quantized_ms": f"{speed.quantized_ms:.3f}",
                    "speedup": f"{speed.factor:.3f}",
                    "float_bytes": sizes.float_bytes,
                    "file_bytes": sizes.file_bytes,
                    "float_operators": " ".join(f"{count} {kind}" for kind, count in operators.float.items()),
                    "images": len(test) or "",
                    "equal_predictions": equal,
                    "processor": processor_name(),
                    **{package: version(package) for package in _PACKAGES},
                    "commit": git_commit(),
                }


def _resnet20(data_root: Path | None) -> tuple[QuantProblem, Tensor]:
    """The shipped ResNet20, and 1,000 test images ``(1000, 3, 32, 32)``."""
    splits = load_splits("resnet20", "cifar10", data_root=data_root)
    assert isinstance(splits.test, ImageSet)
    test = torch.cat([images for images, _ in splits.test.first(1000).batches(100)])  # (1000, 3, 32, 32)
    return QuantProblem(load_network("resnet20").network, splits, quantizer="gptq", name="resnet20"), test


def _untested(name: str) -> tuple[QuantProblem, Tensor]:
    """A network of which speed alone is measured, and no images."""
    torch.manual_seed(0)
    make, size = _MAKERS[name]
    network = make()
    # Smooth ones: noise from pixel to pixel looks the same to a network.
    images = interpolate(torch.randn(_CALIBRATION, 3, 7, 7), size=size, mode="bicubic")  # (N, 3, S, S)
    if name != "efficientnet_lite1":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
        with torch.no_grad():
            network.train()(images)  # norms of random weights
    splits = own_splits([(images, torch.zeros(len(images), dtype=torch.long))], len(images))
    return QuantProblem(network.eval(), splits, quantizer="linear", name=name), images[:0]


_MAKERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mobilenet_v2": (torchvision.models.mobilenet_v2, 224),
    "resnet18": (torchvision.models.resnet18, 224),
    "efficientnet_lite1": (efficientnet_lite1, 240),
}
_WEIGHT_BITS = {"mobilenet_v2": (8,), "resnet18": (8,), "efficientnet_lite1": (8,), "resnet20": (8, 4, 2)}


@torch.inference_mode()
def _equal_predictions(file: Path, simulation: nn.Module, images: Tensor) -> int:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])  # (N, K)
    expected: Tensor = simulation(images)  # (N, K)
    return int((found.argmax(1) == expected.argmax(1)).sum())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
