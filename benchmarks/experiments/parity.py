"""Does the fast evaluator predict what the plain one predicts?

    python -m benchmarks.experiments.parity --data-root D

Random configurations (every layer between 1 and 8 bits) of each network and quantizer, on CIFAR-10's 10,000 test
images: how many images get another label, and the largest difference of a logit. Each runs together with another one
that has its first half in common, so that what is shared is part of what is compared. A row for each goes to
benchmarks/results/equality.csv as it comes; a second call goes on with what is left.
"""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from adrl_gym.datasets import ImageSet, load_splits
from adrl_gym.evaluation import Engine, ReferenceEvaluator
from adrl_gym.layers import find_layers
from adrl_gym.models import load_network
from adrl_gym.quantization import quantize_layers

_RESULTS = Path(__file__).parents[1] / "results"
_COLUMNS = ("network", "quantizer", "configuration", "bits", "images", "different", "largest_difference", "torch")
_NETWORKS = ("resnet20", "cifarnet")
_QUANTIZERS = ("gptq", "linear", "kmeans")


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    configurations: int = 50
    """Number of configurations of each network and quantizer."""
    together: int = 5
    """Configurations of one network and quantizer before the next one's turn."""
    results: Path = _RESULTS
    """Folder of equality.csv."""


class Pair:
    """Both evaluators of one network and quantizer, on the same images."""

    def __init__(self, network: str, quantizer: str, data_root: Path) -> None:
        loaded = load_network(network).network
        splits = load_splits(network, "cifar10", data_root=data_root)
        assert isinstance(splits.test, ImageSet)
        self.images = splits.test
        self.layers = find_layers(loaded, (3, 32, 32))
        versions = quantize_layers(
            *(loaded, self.layers, splits.search.images),
            quantizer=quantizer,
            bits=range(1, 9),
            bias_correction=True,
        )
        self.fast = Engine(loaded, self.layers, versions, self.images, [torch.device("cpu")])
        self.plain = ReferenceEvaluator(loaded, self.layers, versions)

    def compare(self, bits: list[int]) -> tuple[int, float]:
        """Images with another label, and the largest difference of a logit."""
        sibling = [*bits[: len(bits) // 2], *reversed(bits[len(bits) // 2 :])]
        fast = self.fast.search_logits([sibling, bits])[1]  # (N, K)
        plain = self.plain.logits(self.images, bits)  # (N, K)
        return int((fast.argmax(1) != plain.argmax(1)).sum()), float((fast - plain).abs().max())


def main(options: Options) -> None:
    done: set[tuple[str, str, int]] = set()
    output = options.results / "equality.csv"
    if output.exists():
        with output.open(newline="") as file:
            done = {(r["network"], r["quantizer"], int(r["configuration"])) for r in csv.DictReader(file)}
    starts = range(0, options.configurations, options.together)
    chunks = [range(start, min(start + options.together, options.configurations)) for start in starts]
    for chunk, network, quantizer in itertools.product(chunks, _NETWORKS, _QUANTIZERS):
        left = [c for c in chunk if (network, quantizer, c) not in done]
        if not left:
            continue
        pair = Pair(network, quantizer, options.data_root)
        for configuration in tqdm(left, f"{network} {quantizer}", disable=None):
            draw = np.random.default_rng([configuration, _QUANTIZERS.index(quantizer)])
            bits = draw.integers(1, 9, len(pair.layers)).tolist()
            different, largest = pair.compare(bits)
            values = (configuration, " ".join(map(str, bits)), len(pair.images), different, f"{largest:.2e}")
            new = not output.exists()
            with output.open("a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(_COLUMNS)
                writer.writerow((network, quantizer, *values, torch.__version__.partition("+")[0]))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
