"""Compare CUDA with the CPU, and time searches on it: results/gpu.csv.

    timeout 480 python -m benchmarks.gpu

Without CUDA it says so and ends with status 2. Each part has rows of its own:

- how many images of CIFAR's networks get another label than on the CPU, in float and with 4 bits (test images where
  CIFAR-10 is found, else the data-free set), with the seconds of both;
- the search with default options on ResNet20;
- the same on ResNet50 at 224 pixels, whose weights and images are random.

Rows are written after every part, and replace those of the same part and device.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image

from adrl_agents.runs import SearchResult, git_commit
from adrl_gym.datasets import ImageSet, load_splits
from adrl_gym.evaluation import Engine
from adrl_gym.layers import find_layers
from adrl_gym.models import load_network
from adrl_gym.quantization import quantize_layers
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parents[1]
COMPARED_NETWORKS = ("resnet20", "cifarnet")
SIZE, CLASSES, BITS = 224, 10, 4
FACTORY = f"""import torch
from torchvision.models import resnet50


def make():
    torch.manual_seed(0)
    network = resnet50(num_classes={CLASSES})
    network.pretrained_cfg = {{"input_size": (3, {SIZE}, {SIZE}), "mean": (0.5,) * 3, "std": (0.25,) * 3}}
    return network
"""
GpuRow = dict[str, Any]


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path | None = None
    """Folder of CIFAR-10; without it, $ADRL_GYM_DATA and the default cache are looked at."""
    images: int = 10_000
    """Most images whose predictions are compared."""
    random_images: int = 1_000
    """Search images of ResNet50."""
    minutes: float = 2.5
    """Most minutes of each search."""
    results: Path = _RESULTS
    """Folder of gpu.csv."""


def predictions(options: Options, device: torch.device) -> Iterator[GpuRow]:
    """Yield a row for each network, in float and quantized: images with another label than on the CPU, and seconds."""
    for name in COMPARED_NETWORKS:
        network = load_network(name).network
        splits = load_splits(name, data_root=options.data_root)
        images = splits.test if isinstance(splits.test, ImageSet) else splits.search
        images = images.first(options.images)
        layers = find_layers(network, (3, 32, 32))
        params = quantize_layers(
            *(network, layers, splits.search.images), quantizer="linear", bits=[BITS], bias_correction=True
        )
        engines = [Engine(network, layers, params, images, [where]) for where in (torch.device("cpu"), device)]
        for bits in (None, BITS):
            found, seconds = [], []
            for engine in engines:
                start = time.perf_counter()
                found.append(engine.search_logits([(bits,) * len(layers)])[0].cpu())  # (N, K)
                seconds.append(round(time.perf_counter() - start, 3))
            yield {
                "network": name,
                "bits": "float" if bits is None else bits,
                "images": len(images),
                "different": int((found[0].argmax(1) != found[1].argmax(1)).sum()),
                "largest_difference": f"{float((found[0] - found[1]).abs().max()):.2e}",
                "cpu_seconds": seconds[0],
                "seconds": seconds[1],
            }


def resnet20_search(options: Options, device: torch.device) -> Iterator[GpuRow]:
    """Yield the row of a search with default options."""
    data = [] if options.data_root is None else ["--data-root", str(options.data_root)]
    yield {"network": "resnet20", **_search(options, device, data)}


def resnet50_search(options: Options, device: torch.device) -> Iterator[GpuRow]:
    """Yield the row of a search with default options, at an eighth of the size; no accuracy is told."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "network.py").write_text(FACTORY)
        draw = np.random.default_rng(0)
        for index in range(2 * options.random_images):  # half of them are the test images
            path = Path(folder) / "images" / f"class{index % CLASSES}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
        own = ["--network", f"{folder}/network.py:make", "--data-root", f"{folder}/images", "--budget", "0.125"]
        row = _search(options, device, [*own, "--images", str(options.random_images)])
        yield {"network": "resnet50", **row, "test_accuracy": ""}


def _search(options: Options, device: torch.device, arguments: list[str]) -> GpuRow:
    with tempfile.TemporaryDirectory() as folder:
        fixed = [
            "--device",
            str(device),
            "--minutes",
            str(options.minutes),
            "--cache",
            "none",
            "--output",
            f"{folder}/run",
        ]
        subprocess.run([sys.executable, "-m", "adrl_gym", "adrl", *arguments, *fixed], cwd=_ROOT, check=True)
        result = SearchResult.load(Path(folder) / "run" / "result.json")
    return {
        "images": result.options["images"],
        "evaluations": result.evaluations,
        "preparation_seconds": result.preparation_seconds,
        "seconds": result.seconds,
        "test_accuracy": result.test_accuracy,
        "test_agreement": result.test_agreement,
        "test_kl": result.test_kl,
        "test_loss": result.test_loss,
    }


PARTS = (predictions, resnet20_search, resnet50_search)


def main(options: Options, device: torch.device, device_name: str) -> None:
    """Run all parts; ``device_name`` goes into every row."""
    file = options.results / "gpu.csv"
    versions = {"torch": torch.__version__, "commit": git_commit()}
    for part in PARTS:
        key = {"part": part.__name__, "device": device_name}
        found = [{**key, **row, **versions} for row in part(options, device)]
        others = [row for row in read_rows(file) if any(row[name] != value for name, value in key.items())]
        write_rows(file, [*others, *found])
        for row in found:
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    _options = tyro.cli(Options, description=__doc__)
    if not torch.cuda.is_available():
        print("gpu: there is no CUDA device here: run this on a machine that has one", file=sys.stderr)
        sys.exit(2)
    main(_options, torch.device("cuda", 0), torch.cuda.get_device_name(0))
