"""Compare the sensitivity table from gradients with the measured one.

    python -m benchmarks.searches.sensitivity --data-root D [--imagenet FOLDER]

Both shipped networks, EfficientNet-Lite1 where a folder of its images is named, and all quantizers: each layer alone at
every bit-width on the same search images. Writes
benchmarks/results/sensitivity.csv: for each bit-width (and for all together, bits 0) Spearman's rank correlation over
the layers, the median ratio of the two, and the evaluations that both tables take. A second call goes on with what is
left.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy.stats import spearmanr

from adrl_agents.runs import git_commit
from adrl_gym.datasets import find_splits, load_splits
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import QUANTIZERS
from adrl_gym.sensitivity import sensitivity_tables
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_EFFICIENTNET = f"{Path(__file__).with_name('efficientnet.py')}:efficientnet_lite1"
_IMAGENET_IMAGES = 100


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    imagenet: Path | None = None
    """Folder of ImageNet images, with one folder a class; without it, the shipped networks alone."""
    images: int = 250
    """Search images that both tables are made of; of ImageNet's, 100."""
    results: Path = _RESULTS
    """Folder of sensitivity.csv."""


def table_rows(problem: QuantProblem, images: int) -> Iterator[dict[str, object]]:
    """Yield a row for each bit-width, and one for all."""
    costs, passes = {}, {}
    for kind in ("gradient", "measured"):
        before = problem.evaluations
        costs[kind] = sensitivity_tables(problem, kind, "kl", images).alone().costs  # (n, widths)
        passes[kind] = problem.evaluations - before
    for bits in (0, *range(problem.min_bits, problem.max_bits + 1)):
        columns = slice(None) if bits == 0 else slice(bits - problem.min_bits, bits - problem.min_bits + 1)
        gradient, measured = (costs[kind][:, columns].ravel() for kind in ("gradient", "measured"))
        yield {
            "network": problem.name,
            "quantizer": problem.quantizer,
            "bits": bits,
            "spearman": round(float(spearmanr(gradient, measured).statistic), 4),
            "ratio_median": round(float(np.median(gradient / measured)), 4),
            "passes": round(passes["gradient"], 2),
            "measured_passes": round(passes["measured"], 2),
            "images": images,
            "checkpoint": problem.checkpoint[:16],
            "commit": git_commit(),
        }


def problems(options: Options) -> Iterator[tuple[str, int, Callable[[str], QuantProblem]]]:
    """Yield each network's name, its number of images, and its problem for a quantizer."""
    for name in ("cifarnet", "resnet20"):

        def shipped(quantizer: str, name: str = name) -> QuantProblem:
            splits = load_splits(name, "cifar10", data_root=options.data_root)
            return QuantProblem(load_network(name).network, splits, name=name, quantizer=quantizer, budget=0.1)

        yield name, options.images, shipped
    if options.imagenet is not None:

        def efficientnet(quantizer: str) -> QuantProblem:
            loaded = load_network(_EFFICIENTNET)
            splits = find_splits(loaded, "auto", data_root=options.imagenet, images=_IMAGENET_IMAGES)
            return QuantProblem(loaded.network, splits, name=loaded.name, quantizer=quantizer, budget=0.1)

        yield "efficientnet_lite1", _IMAGENET_IMAGES, efficientnet


def main(options: Options) -> None:
    """Measure what is missing, and write the file anew after each network and quantizer."""
    file = options.results / "sensitivity.csv"
    for network, images, make in problems(options):
        for quantizer in QUANTIZERS:
            rows: list[Mapping[str, object]] = [*read_rows(file)]
            if any((row["network"], row["quantizer"]) == (network, quantizer) for row in rows):
                continue
            found = [{**row, "network": network} for row in table_rows(make(quantizer), images)]
            print(*found[0].values(), flush=True)
            write_rows(file, [*rows, *found])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
