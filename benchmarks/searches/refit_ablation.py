"""Measure how much each part of the refit brings.

    python -m benchmarks.searches.refit_ablation --data-root D

Refits ADRL's bits of ``refit.csv`` with parts of the refit left out, for three draws of calibration images from the
5,000 of the search split, and measures the test images. Writes a row of ``benchmarks/results/refit_ablation.csv`` for
each; a second call goes on with what is left.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import sample_metrics, whole_logits
from adrl_gym.layers import find_layers, quantized_copy
from adrl_gym.models import load_network
from adrl_gym.quantization import CALIBRATION_IMAGES, POSITIONS, SequentialQuantizer, find_quantizer
from adrl_gym.refit import MOST_IMAGES
from benchmarks.experiments.refits import BUDGETS, DRAWS, cifar10
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_PLACE = "adrl_gym.quantization.sequential"
_KEY = ("network", "budget", "variant", "seed")
_BATCH = 50  # test images


class Variant(NamedTuple):
    """Settings of a refit.

    Attributes:
        images: calibration images.
        descent: coordinate descent on codes and scales after rounding.
        variance: outputs with the float network's variance, and the logits' factor of least divergence.
    """

    images: int = MOST_IMAGES
    descent: bool = True
    variance: bool = True


VARIANTS = {
    "refit": Variant(),
    "three quarters of the images": Variant(MOST_IMAGES * 3 // 4),
    "256 images": Variant(CALIBRATION_IMAGES),
    "256 images, no descent": Variant(CALIBRATION_IMAGES, descent=False),
    "256 images, no variance": Variant(CALIBRATION_IMAGES, variance=False),
    "256 images, least squares and gptq alone": Variant(CALIBRATION_IMAGES, descent=False, variance=False),
}


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    networks: tuple[str, ...] = ("resnet20", "cifarnet")
    """Networks of refit.csv."""
    budgets: tuple[str, ...] = BUDGETS["resnet20"]
    """Budgets of refit.csv."""
    draws: int = DRAWS
    """Draws of calibration images."""
    images: int = 10_000
    """Test images, the first ones; a multiple of 50."""
    results: Path = _RESULTS
    """Folder of refit.csv; refit_ablation.csv is written there."""
    threads: int = 1
    """CPU threads."""


@contextmanager
def _without(variant: Variant) -> Iterator[None]:
    """Leave out what the variant has not."""
    left_out: dict[str, Any] = {}
    if not variant.descent:
        left_out["descend"] = lambda _wanted, rounded, *_: rounded
    if not variant.variance:
        left_out |= {"rescale": lambda weight, *_, **__: weight, "temperature": lambda *_: 1.0}
    if not left_out:
        yield
        return
    with patch.multiple(_PLACE, **left_out):
        yield


def _searched(results: Path) -> dict[tuple[str, str], str]:
    """Return network and budget -> ADRL's bits."""
    rows = read_rows(results / "refit.csv")
    return {(row["network"], row["budget"]): row["bits"] for row in rows if row["agent"] == "adrl"}


def _logits(network: nn.Module, test: ImageSet, count: int) -> Tensor:
    """Return the logits ``(count, K)`` of the first test images."""
    return whole_logits(network, (images for images, _ in islice(test.batches(_BATCH), count // _BATCH)))


@cache
def _float_logits(name: str, data_root: Path, count: int) -> Tensor:
    return _logits(load_network(name).network.eval(), cifar10(data_root, "test"), count)


def _measure(options: Options, key: tuple[str, str, str, int], bits: str) -> dict[str, Any]:
    name, _, made, seed = key
    variant, loaded = VARIANTS[made], load_network(name)
    there, test = cifar10(options.data_root, "search").images, cifar10(options.data_root, "test")
    chosen = np.random.default_rng(seed).permutation(len(there))[: variant.images]
    network, images = loaded.network.eval(), there[torch.from_numpy(chosen)]
    start = time.process_time()
    layers = find_layers(network, (3, 32, 32))
    refitter = SequentialQuantizer(
        *(network, layers, images),
        quantizer=find_quantizer("gptq"),
        positions=POSITIONS // CALIBRATION_IMAGES * variant.images,
        seed=seed,
    )
    with _without(variant):
        refitted = quantized_copy(network, layers, refitter.quantize([int(b) for b in bits.split()]))
    seconds = time.process_time() - start

    assert test.labels is not None
    logits = _logits(refitted, test, options.images)  # (N, K)
    reference = _float_logits(name, options.data_root, options.images)  # (N, K)
    labels = test.labels[: len(logits)]  # (N,)
    found, whole = (sample_metrics(some[None], reference, labels)[0].metrics() for some in (logits, reference))
    return {
        **dict(zip(_KEY, key, strict=True)),
        "bits": bits,
        "images": variant.images,
        "test_images": len(logits),
        "test_accuracy": round(found.accuracy, 4),
        "float_test_accuracy": round(whole.accuracy, 4),
        "test_kl": round(found.kl, 5),
        "seconds": round(seconds, 2),
        "checkpoint": loaded.checkpoint[:16],
        "torch": torch.__version__,
        "commit": git_commit(),
    }


def main(options: Options) -> None:
    """Measure what is left."""
    torch.set_num_threads(options.threads)
    path = options.results / "refit_ablation.csv"
    rows: list[dict[str, Any]] = [*read_rows(path)]
    done = {tuple(row[name] for name in _KEY) for row in rows}
    bits = _searched(options.results)
    asked = [
        (name, budget, made, seed)
        for name in options.networks
        for seed, budget, made in product(range(options.draws), options.budgets, VARIANTS)
        if (name, budget) in bits
    ]
    for key in tqdm([key for key in asked if tuple(map(str, key)) not in done], "refits", disable=None):
        rows.append(_measure(options, key, bits[key[:2]]))
        write_rows(path, rows)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"refit_ablation: {error}", file=sys.stderr)
        sys.exit(2)
