"""Does the fast evaluator predict what the plain one predicts?

    python -m benchmarks.experiments.parity --data-root D

Random configurations (every layer between 1 and 8 bits) of each network and quantizer, on CIFAR-10's 10,000 test
images: how many images get another label, and the largest difference of a logit. Each runs together with another one
that has its first half in common, so that what is shared is part of what is compared. A row for each goes to
benchmarks/results/equality.csv as it comes; a second call goes on with what is left.
"""

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
from benchmarks.harness.csv_file import add_row, read_rows

_RESULTS = Path(__file__).parents[1] / "results"
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
    output = options.results / "equality.csv"
    done = {(row["network"], row["quantizer"], int(row["configuration"])) for row in read_rows(output)}
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
            row = {
                "network": network,
                "quantizer": quantizer,
                "configuration": configuration,
                "bits": " ".join(map(str, bits)),
                "images": len(pair.images),
                "different": different,
                "largest_difference": f"{largest:.2e}",
                "torch": torch.__version__.partition("+")[0],
            }
            add_row(output, row)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
