"""Measure how much of the lost accuracy a refit brings back.

    python -m benchmarks.experiments.refits --data-root D

Takes the bits that ADRL and uniform quantization have in the committed tables of searches (seed 0, ``gptq``), refits
them on 1,024 images as ``adrl-gym refit`` does, and measures all 10,000 test images. Calibration images are drawn three
times, from the 5,000 of the search split and from the data-free set, never from the test images. Seconds include the
refit that is tried on three quarters of the images. A row of ``benchmarks/results/refit.csv`` is written after each; a
second call goes on with what is left.
"""

import sys
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet, Splits, load_cifar10, load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.refit import MOST_IMAGES, calibration_size, choose_weights
from benchmarks.harness.csv_file import add_row, read_rows
from benchmarks.harness.metric_columns import BESIDE_ACCURACY, test_columns

_RESULTS = Path(__file__).parents[1] / "results"
_SEARCHES = ("comparison.csv", "runs.csv")
BUDGETS = {"resnet20": ("0.0625", "0.05", "0.04"), "cifarnet": ("0.0625",)}
_AGENTS = ("adrl", "uniform")
DRAWS = 3
IMAGE_SOURCES = ("cifar10", "data-free")
REFIT_KEY = ("network", "agent", "quantizer", "budget", "seed", "bits", "calibration", "draw")


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    results: Path = _RESULTS
    """Folder of the tables of searches; refit.csv is written there."""
    threads: int = 1
    """CPU threads."""


def searched(results: Path) -> list[dict[str, str]]:
    """The rows of searches whose bits are refitted, one for each network, agent and budget."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for name in _SEARCHES:
        for row in read_rows(results / name):
            what = (row["network"], row["agent"], row["budget"])
            wanted = row["agent"] in _AGENTS and row["budget"] in BUDGETS.get(row["network"], ())
            plain = row["quantizer"] == "gptq" and row["seed"] == "0" and not row["varied"]
            if wanted and plain and row["protocol"] == "search" and what not in found:
                found[what] = row
    return [found[what] for what in product(BUDGETS, _AGENTS, BUDGETS["resnet20"]) if what in found]


@cache
def cifar10(data_root: Path, split: str) -> ImageSet:
    """``load_cifar10``, which checks all files each time, once."""
    return load_cifar10(data_root, split)


def calibration_images(network: str, calibration: str, draw: int, data_root: Path) -> Tensor:
    """``(MOST_IMAGES, 3, 32, 32)``, drawn without replacement."""
    there = (
        cifar10(data_root, "search").images
        if calibration == "cifar10"
        else load_splits(network, "data-free").search.images
    )
    chosen = np.random.default_rng(draw).permutation(len(there))[:MOST_IMAGES]
    return there[torch.from_numpy(chosen)]


def _measure(row: dict[str, str], calibration: str, draw: int, data_root: Path) -> dict[str, Any]:
    """One refit of one search's bits."""
    loaded = load_network(row["network"])
    if not loaded.checkpoint.startswith(row["checkpoint"]):
        raise AdrlGymError(f"{row['network']} was searched with the checkpoint {row['checkpoint']}: search anew")
    images = calibration_images(row["network"], calibration, draw, data_root)
    splits = Splits(ImageSet(images, None), cifar10(data_root, "test"), calibration)
    problem = QuantProblem(loaded.network, splits, quantizer=row["quantizer"], name=row["network"])
    start, cpu_start = time.perf_counter(), time.process_time()
    choice = choose_weights(problem, [int(b) for b in row["bits"].split()], seed=draw)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    count, positions = calibration_size(problem)
    return {
        **{name: row[name] for name in ("network", "agent", "quantizer", "budget", "seed", "bits", "checkpoint")},
        "calibration": calibration,
        "draw": str(draw),
        "images": count,
        "positions": positions,
        "weights": choice.weights,
        "direct_test_accuracy": row["test_accuracy"],
        "float_test_accuracy": row["float_test_accuracy"],
        **test_columns(problem.measure(choice.network, "test")),
        **{f"direct_{name}": row.get(name, "") for name in BESIDE_ACCURACY},
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": git_commit(),
    }


def _same_refit(one: dict[str, str], row: dict[str, str], calibration: str, draw: int) -> bool:
    """Return whether a measured row is of the same bits and images: agents may find the same."""
    names = ("network", "quantizer", "budget", "bits", "checkpoint")
    return all(one[name] == row[name] for name in names) and (one["calibration"], one["draw"]) == (
        calibration,
        str(draw),
    )


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    path = options.results / "refit.csv"
    done = {tuple(row[name] for name in REFIT_KEY) for row in read_rows(path)}
    asked = [
        (row, calibration, draw)
        for calibration in IMAGE_SOURCES
        for row in searched(options.results)
        for draw in range(DRAWS)
    ]
    here = [{**row, "calibration": calibration, "draw": str(draw)} for row, calibration, draw in asked]
    left = [ask for ask, key in zip(asked, here, strict=True) if tuple(key[name] for name in REFIT_KEY) not in done]
    for row, calibration, draw in tqdm(left, "refits", disable=None):
        same = [one for one in read_rows(path) if _same_refit(one, row, calibration, draw)]
        add_row(
            path, {**same[0], "agent": row["agent"]} if same else _measure(row, calibration, draw, options.data_root)
        )


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"refits: {error}", file=sys.stderr)
        sys.exit(2)
