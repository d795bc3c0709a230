"""Rank the best configurations of one search by each measure on the search images, and test them.

    python -m benchmarks.experiments.selection RUN --data-root D

Takes the configurations of RUN/episodes.csv with the lowest divergence, measures each on the test images, and writes
benchmarks/results/selection.csv with what the search had measured of it. Prints Spearman's rank correlations.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from scipy.stats import spearmanr
from tqdm import tqdm

from adrl_agents.runs import SearchResult
from adrl_gym.datasets import load_splits
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from benchmarks.harness.csv_file import read_rows, write_rows
from benchmarks.harness.metric_columns import test_columns

_RESULTS = Path(__file__).parents[1] / "results"


@dataclass
class Options:
    """Options of the comparison."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished search."""
    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    configurations: int = 20
    """Number of the search's best configurations."""
    results: Path = _RESULTS
    """Folder of selection.csv."""


def main(options: Options) -> None:
    result = SearchResult.load(options.run / "result.json")
    network = {"CifarNet": "cifarnet", "ResNet20": "resnet20"}[result.env_id.split("/")[1].split("-")[0]]
    problem = QuantProblem(
        load_network(network).network,
        load_splits(network, "cifar10", data_root=options.data_root),
        quantizer=result.options["quantizer"],
        budget=result.options["budget"],
    )
    tried = {row["bits"]: row for row in read_rows(options.run / "episodes.csv")}
    best = sorted(tried.values(), key=lambda row: float(row["kl"]))[: options.configurations]
    rows = []
    for row in tqdm(best, "test"):
        test = problem.test([int(b) for b in row["bits"].split()])
        assert test is not None
        searched = {name: row[name] for name in ("bits", "accuracy", "agreement", "kl")}
        rows.append({**searched, **test_columns(test)})
    write_rows(options.results / "selection.csv", rows)
    tests = [float(row["test_accuracy"]) for row in rows]
    for name in ("accuracy", "agreement", "kl"):
        print(f"{name}: {spearmanr([float(row[name]) for row in rows], tests).statistic:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
