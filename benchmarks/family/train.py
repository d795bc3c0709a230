"""Train the networks of the family on the 45,000 images of CIFAR-10's train split.

    python -m benchmarks.family.train --data-root D --output F

Some minutes a network on one core. Resumable: each epoch's state is written, and what has its weights in F is not
trained again. Writes F/NAME.safetensors for ``adrl-gym pretrain --weights F``, and the accuracy of each on the test
split into benchmarks/results/family_networks.csv.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet, load_cifar10
from adrl_gym.layers import find_layers
from adrl_gym.models import load_network
from benchmarks.experiments.pretrain import Training, export_network, train_network
from benchmarks.family.networks import FAMILY
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_PEAK_WITH_NORM, _PEAK = 0.2, 0.02  # learning rates


@dataclass(kw_only=True)
class Options(Training):
    """Options of the training."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    output: Path = Path("runs/family")
    """Folder for the weights."""
    networks: tuple[str, ...] = tuple(FAMILY)
    """Names of the networks, all by default."""
    epochs: int = 6
    """Passes over the training images."""
    bfloat16: bool = True
    """Train in bfloat16 autocast; on processors without it, --no-bfloat16 is faster."""
    results: Path = _RESULTS
    """Folder of family_networks.csv."""


def accuracy_row(name: str, weights: Path, data: ImageSet) -> dict[str, object]:
    """Return the row of one trained network: its layers, weights and accuracy on test images in percent."""
    loaded = load_network(f"{Path(__file__).with_name('networks.py')}:{name}", weights)
    layers = find_layers(loaded.network, tuple(data.images.shape[1:]))
    assert data.labels is not None
    with torch.inference_mode():
        right = sum(
            int((loaded.network(images).argmax(1) == labels).sum())
            for images, labels in zip(data.images.split(500), data.labels.split(500), strict=True)
        )
    return {
        "network": name,
        "layers": len(layers),
        "weights": sum(layer.parameters for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "test_accuracy": round(100 * right / len(data), 2),
        "checkpoint": loaded.checkpoint[:16],
        "commit": git_commit(),
    }


def main(options: Options) -> None:
    """Train what has no weights yet, one after the other."""
    if options.threads:
        torch.set_num_threads(options.threads)
    data, test = (load_cifar10(options.data_root, split) for split in ("train", "test"))
    file = options.results / "family_networks.csv"
    for name in options.networks:
        weights = options.output / f"{name}.safetensors"
        if not weights.exists():
            normed = any(isinstance(module, torch.nn.BatchNorm2d) for module in FAMILY[name]().modules())
            peak = _PEAK_WITH_NORM if normed else _PEAK
            state_file = options.output / "states" / f"{name}.pt"
            network, _ = train_network(FAMILY[name], peak, options, data, state_file)
            export_network(network, data.images, weights)
        row = accuracy_row(name, weights, test)
        write_rows(file, [*(r for r in read_rows(file) if r["network"] != name), row])
        print(*row.values(), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
