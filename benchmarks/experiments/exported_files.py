"""Export networks, load the files back, and compare with what PyTorch computed before.

    python -m benchmarks.experiments.exported_files --network resnet20 --data-root D

ResNet20 and CifarNet with the bits that ADRL found (benchmarks/results/comparison.csv) and with every width from 1 to 8
in turn, on all CIFAR-10 test images; torchvision's MobileNetV2 with random weights on 1,000 random images of 96x96.
Replaces these rows of benchmarks/results/export.csv: sizes in bytes, images, and of how many of them
predictions and logits are the same, and for ONNX the milliseconds of one image beside those of the float file. A packed
file is exported as `adrl-gym export` does it: in half precision where the predictions on the search images stay.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
import torchvision
import tyro
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet, load_splits, own_splits
from adrl_gym.export import SpeedOptions, compare_speed, half_precision, load_packed, save_onnx, save_packed
from adrl_gym.models import find_network, load_network
from adrl_gym.problem import QuantProblem
from benchmarks.harness.csv_file import Row, read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
IMAGES = 1000  # of MobileNetV2
_BATCH, LAYOUT = 100, torch.channels_last
_SPEED = SpeedOptions(runs=200, warmup=20)
_PACKAGES = ("torch", "safetensors", "onnx", "onnxruntime", "onnxscript")

Logits = Callable[[Tensor], Tensor]  # images (B, C, H, W) to logits (B, K)


@dataclass
class Options:
    """Options of the measurement."""

    network: Literal["resnet20", "cifarnet", "mobilenet_v2"]
    """The network to export."""
    data_root: Path | None = None
    """Folder that holds cifar-10-batches-py; without it, $ADRL_GYM_DATA and the default cache are looked at."""
    formats: tuple[Literal["packed", "onnx"], ...] = ("packed", "onnx")
    """Formats whose rows are replaced."""
    test_images: int = 10_000
    """Number of CIFAR-10 test images to compare on."""
    results: Path = _RESULTS
    """Folder of export.csv."""


@dataclass(frozen=True)
class _Case:
    """A network with its quantizer and the images to compare on; ``make`` gives it with any weights."""

    problem: QuantProblem
    make: Callable[[], nn.Module]
    images: Callable[[], Iterator[Tensor]]


def cifar(network: str, quantizer: str, data_root: Path | None, count: int) -> _Case:
    splits = load_splits(network, "cifar10", data_root=data_root)
    problem = QuantProblem(load_network(network).network, splits, quantizer=quantizer, name=network)
    assert isinstance(splits.test, ImageSet)
    test = splits.test.first(count)
    return _Case(problem, find_network(network).make, lambda: (images for images, _ in test.batches(_BATCH)))


def mobilenet() -> _Case:
    """Random weights; norms and the classifier's bias are set so that images are of different classes."""
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v2()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    first = random_images(64, torch.default_generator)
    with torch.no_grad():
        for _ in range(10):
            network(random_images(16, torch.default_generator))
        logits = network.eval()(first)  # (64, 1000)
        network.classifier[1].bias -= logits.mean(0)
        splits = own_splits([(first, network(first).argmax(1))], len(first))

    def images() -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(1)
        return (random_images(_BATCH, generator) for _ in range(IMAGES // _BATCH))

    problem = QuantProblem(network, splits, quantizer="linear", name="mobilenet_v2")
    return _Case(problem, torchvision.models.mobilenet_v2, images)


def random_images(count: int, generator: torch.Generator) -> Tensor:
    """Smooth ones, ``(count, 3, 96, 96)``: noise from pixel to pixel looks the same to a network."""
    return interpolate(torch.randn(count, 3, 4, 4, generator=generator), size=96, mode="bicubic")


def pytorch(network: nn.Module) -> Logits:
    """In PyTorch."""
    network = network.to(memory_format=LAYOUT)

    def logits(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images.to(memory_format=LAYOUT))

    return logits


def runtime(file: Path) -> Logits:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _measure(case: _Case, bits: tuple[int, ...], form: str, folder: Path) -> dict[str, Any]:
    """Export one configuration in one format and compare: one row."""
    problem, file = case.problem, folder / f"network.{form}"
    quantized = problem.quantized(bits)
    start = time.monotonic()
    packed, first, float_file = form == "packed", next(case.images()), folder / "float.onnx"
    if packed:
        sizes = save_packed(file, half_precision(quantized, problem.splits.search.images))
    else:
        sizes = save_onnx(file, quantized, first, float_file=float_file)
    seconds = time.monotonic() - start
    speed = None if packed else compare_speed(float_file, file, first[:1], _SPEED)
    before = pytorch(quantized.network)
    after = pytorch(load_packed(file, case.make())) if packed else runtime(file)
    images = predictions = exact = 0
    difference, classes = 0.0, set()
    for batch in case.images():
        expected, found = before(batch), after(batch)  # (B, K) each
        images += len(batch)
        predictions += int((expected.argmax(1) == found.argmax(1)).sum())
        exact += int((expected == found).all(1).sum())
        difference = max(difference, float((expected - found).abs().max()))
        classes |= set(expected.argmax(1).tolist())
    return {
        "network": problem.name,
        "quantizer": problem.quantizer,
        "bits": " ".join(map(str, bits)),
        "format": form,
        "float_bytes": sizes.float_bytes,
        "ideal_bytes": sizes.ideal_bytes,
        "other_bytes": sizes.other_bytes,
        "wider_bytes": sizes.wider_bytes,
        "coded_bytes": sizes.coded_bytes or "",
        "file_bytes": file.stat().st_size,
        "factor": round(sizes.factor, 3),
        "overhead": round((file.stat().st_size - sizes.other_bytes) / sizes.ideal_bytes, 4),
        "images": images,
        "classes_predicted": len(classes),
        "equal_predictions": predictions,
        "equal_logits": exact,
        "largest_logit_difference": f"{difference:.3g}",
        "export_seconds": round(seconds, 2),
        "float_ms": f"{speed.float_ms:.3f}" if speed else "",
        "quantized_ms": f"{speed.quantized_ms:.3f}" if speed else "",
        "speedup": f"{speed.factor:.3f}" if speed else "",
        "threads": speed.threads if speed else "",
        "cpus": os.cpu_count(),
        "checkpoint": problem.checkpoint[:16],
        **{name: version(name) for name in _PACKAGES},
        "commit": git_commit(),
    }


def found_bits(network: str) -> tuple[int, ...]:
    """Return the bits of ADRL's search with seed 0, ``gptq`` and 1/16 of the size."""
    wanted = {"network": network, "agent": "adrl", "quantizer": "gptq", "budget": "0.0625", "seed": "0"}
    bits = next(row["bits"] for row in read_rows(_RESULTS / "comparison.csv") if wanted.items() <= row.items())
    return tuple(int(b) for b in bits.split())


def every_width(layers: int) -> tuple[int, ...]:
    """1 to 8 bits in turn."""
    return tuple(index % 8 + 1 for index in range(layers))


def main(options: Options) -> None:
    configurations: list[tuple[_Case, tuple[int, ...], str]] = []
    if options.network == "mobilenet_v2":
        case = mobilenet()
    else:
        case = cifar(options.network, "gptq", options.data_root, options.test_images)
        found = found_bits(options.network)
        configurations += [(case, found, "packed"), (case, found, "onnx")]
        kmeans = cifar(options.network, "kmeans", options.data_root, options.test_images)
        configurations += [(kmeans, found, "packed")]
    every = every_width(len(case.problem.layers))
    configurations += [(case, every, "packed"), (case, every, "onnx")]
    asked = [configuration for configuration in configurations if configuration[2] in options.formats]
    with tempfile.TemporaryDirectory() as folder:
        rows = [_measure(*configuration, Path(folder)) for configuration in tqdm(asked, options.network)]
    output = options.results / "export.csv"
    write_rows(output, with_replaced(read_rows(output), rows))


def with_replaced(there: list[Row], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of export.csv with new ones, each in the place of the one of the same file, or at the end."""
    new = {_file_of(row): row for row in rows}
    return [*(new.pop(_file_of(row), row) for row in there), *new.values()]


def _file_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("network", "quantizer", "bits", "format"))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
