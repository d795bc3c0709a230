"""Does the data-free set rank bit configurations as real test images do?

    python -m benchmarks.experiments.datafree_correlation --network resnet20 --data-root D

Random configurations, every layer between 2 and 6 bits, are quantized with the data-free set alone; agreement
with the float network on that set is then compared with accuracy on CIFAR-10's test images. Rows go to
``benchmarks/results/datafree/`` as they come in, so that a second call goes on with what is left; the summary
beside them holds Spearman's rank correlations.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from scipy.stats import spearmanr
from tqdm import tqdm

from adrl_gym.datasets import ImageSet, Splits, load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from benchmarks.harness.csv_file import read_rows, write_rows
from benchmarks.harness.metric_columns import test_columns

_RESULTS = Path(__file__).parents[1] / "results" / "datafree"
LOWEST, HIGHEST = 2, 6  # bits
_RANKED = ("agreement", "kl", "average_bits", "test_accuracy")


@dataclass
class Options:
    """Options of the comparison."""

    network: Literal["resnet20", "cifarnet"]
    """The network to quantize."""
    data_root: Path | None = None
    """Folder of CIFAR-10; without it, $ADRL_GYM_DATA and the default cache are looked at."""
    quantizer: Literal["gptq", "linear", "kmeans"] = "gptq"
    """Rounding of weights."""
    configurations: int = 120
    """Number of random configurations."""
    test_images: int = 10_000
    """Number of test images."""
    seed: int = 0
    """Seed of the configurations."""
    results: Path = _RESULTS
    """Folder of the rows and the summary."""
    threads: int = 0
    """CPU threads; 0 is PyTorch's choice."""


def _measure(problem: QuantProblem, options: Options, path: Path) -> list[dict[str, Any]]:
    """One row a configuration; those that the file holds already are not measured again."""
    draw = np.random.default_rng(options.seed)
    drawn = draw.integers(LOWEST, HIGHEST + 1, (options.configurations, len(problem.layers)))  # (configurations, n)
    rows: list[dict[str, Any]] = [*read_rows(path)]
    for index in tqdm(range(len(rows), len(drawn)), "configurations", disable=None):
        bits = tuple(int(b) for b in drawn[index])
        search, test = problem.evaluate(bits), problem.test(bits)
        assert test is not None
        row = {
            "configuration": index,
            "bits": " ".join(map(str, bits)),
            "average_bits": round(problem.average_bits(bits), 4),
            "agreement": round(search.agreement, 3),
            "kl": round(search.kl, 6),
            **test_columns(test),
        }
        rows.append(row)
        write_rows(path, rows)
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Spearman's rank correlation of each column with test accuracy."""
    columns = {name: np.array([float(row[name]) for row in rows]) for name in _RANKED}  # (rows,) each
    accuracy = columns["test_accuracy"]
    return {
        "agreement": round(float(spearmanr(columns["agreement"], accuracy).statistic), 4),
        "kl": round(float(spearmanr(-columns["kl"], accuracy).statistic), 4),
        "average_bits": round(float(spearmanr(columns["average_bits"], accuracy).statistic), 4),
    }


def main(options: Options) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    loaded = load_network(options.network)
    datafree = load_splits(options.network, "data-free")
    real = load_splits(options.network, "cifar10", data_root=options.data_root, images=1)
    assert isinstance(real.test, ImageSet)
    test = real.test.first(options.test_images)
    splits = Splits(datafree.search, test, datafree.source, datafree.name)
    problem = QuantProblem(
        loaded.network, splits, quantizer=options.quantizer, budget=1.0, bits=(LOWEST, HIGHEST), progress=True
    )
    name = f"{options.network}-{options.quantizer}"
    rows = _measure(problem, options, options.results / f"{name}.csv")
    assert problem.float_test is not None
    accuracies = [float(row["test_accuracy"]) for row in rows]
    summary = {
        "network": options.network,
        "checkpoint": loaded.checkpoint,
        "quantizer": options.quantizer,
        "configurations": len(rows),
        "bits": [LOWEST, HIGHEST],
        "datafree_images": len(datafree.search),
        "test_images": len(test),
        "float_test_accuracy": problem.float_test.accuracy,
        "test_accuracy_range": [min(accuracies), max(accuracies)],
        "spearman_with_test_accuracy": summarise(rows),
    }
    (options.results / f"{name}.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"datafree_correlation: {error}", file=sys.stderr)
        sys.exit(2)
