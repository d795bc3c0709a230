"""Measure a float network on its data set's test split.

python -m benchmarks.experiments.evaluate --network resnet20 --data-root D
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import nn
from tqdm import tqdm

from adrl_gym.datasets import Images, check_fit, load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import NETWORKS, load_network

_BATCH = 100


@dataclass
class Options:
    """Options of the evaluation."""

    network: Literal["resnet20", "cifarnet", "alexnet", "resnet50"]
    """The network to measure."""
    data_root: Path | None = None
    """Folder of CIFAR-10 or ImageNet; without it, $ADRL_GYM_DATA and the default cache are looked at."""
    weights: Path | None = None
    """A file of weights; without it, those that ship with the package or with torchvision."""
    output: Path | None = None
    """A JSON file for the result."""


def _accuracy(network: nn.Module, images: Images) -> tuple[float, float]:
    """Share of images with the right label, in percent, and mean cross-entropy, in nats."""
    correct, loss = 0, 0.0
    network = network.to(memory_format=torch.channels_last)  # half the time on a CPU
    with torch.inference_mode(), tqdm(total=len(images), unit=" images", disable=None, leave=False) as bar:
        for x, labels in images.batches(_BATCH):
            assert labels is not None
            logits = network(x.to(memory_format=torch.channels_last))  # (B, K)
            correct += int((logits.argmax(1) == labels).sum())
            loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            bar.update(len(x))
    return 100 * correct / len(images), loss / len(images)


def main(options: Options) -> None:
    loaded = load_network(options.network, options.weights)
    dataset = NETWORKS[options.network].dataset
    splits = load_splits(options.network, dataset, data_root=options.data_root, images=1)
    assert splits.test is not None
    check_fit(loaded.network, splits.test)
    accuracy, loss = _accuracy(loaded.network, splits.test)
    result = {
        "network": options.network,
        "dataset": dataset,
        "test_images": len(splits.test),
        "test_accuracy": round(accuracy, 3),
        "test_loss": round(loss, 6),
        "checkpoint": loaded.checkpoint,
    }
    print(
        f"{options.network}: {result['test_accuracy']:.2f} % of {len(splits.test):,} {dataset} test images, "
        f"loss {loss:.4f}, "
        f"checkpoint {loaded.checkpoint}"
    )
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(2)
