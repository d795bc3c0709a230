"""Compare the sensitivity table from gradients with the measured one.

    python -m benchmarks.searches.sensitivity --data-root D

Both shipped networks and all quantizers, each layer alone at every bit-width on the same search images. Writes
benchmarks/results/sensitivity.csv: for each bit-width (and for all together, bits 0) Spearman's rank correlation over
the layers, the median ratio of the two, and the evaluations that both tables take. A second call goes on with what is
left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy.stats import spearmanr

from adrl_agents.runs import git_commit
from adrl_gym.datasets import load_splits
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import QUANTIZERS
from adrl_gym.sensitivity import sensitivity_tables
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    images: int = 250
    """Search images that both tables are made of."""
    results: Path = _RESULTS
    """Folder of sensitivity.csv."""


def compare(problem: QuantProblem, images: int) -> Iterator[dict[str, object]]:
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


def main(options: Options) -> None:
    """Measure what is missing, and write the file anew after each network and quantizer."""
    file = options.results / "sensitivity.csv"
    for network in ("cifarnet", "resnet20"):
        for quantizer in QUANTIZERS:
            rows: list[Mapping[str, object]] = [*read_rows(file)]
            if any((row["network"], row["quantizer"]) == (network, quantizer) for row in rows):
                continue
            splits = load_splits(network, "cifar10", data_root=options.data_root)
            loaded = load_network(network)
            problem = QuantProblem(loaded.network, splits, name=network, quantizer=quantizer, budget=0.1)
            found = list(compare(problem, options.images))
            print(*found[0].values(), flush=True)
            write_rows(file, [*rows, *found])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
