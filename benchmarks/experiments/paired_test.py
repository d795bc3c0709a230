"""On how many test images do P-ADRL's bits and another agent's differ? What tells a lead from the luck of the images.

    python -m benchmarks.experiments.paired_test --data-root D

Of every setting and agent in runs.csv, the bits of the seed with the median test accuracy are run on CIFAR-10's 10,000
test images once more, image by image. A row for each goes to benchmarks/results/paired.csv as it comes; a second call
measures what is new. On another kind of processor than the search's, rounding changes some quantized weights and a few
predictions with them, so the accuracies measured here are written down too.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from adrl_gym.datasets import ImageSet, load_splits
from adrl_gym.evaluation import Engine
from adrl_gym.layers import find_layers
from adrl_gym.models import load_network
from adrl_gym.quantization import quantize_layers
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.store import KEY, write
from benchmarks.harness.suites import PAPER
from benchmarks.reporting.settings import Results, Setting, in_setting
from benchmarks.reporting.tables import COMPARED

_RESULTS = Path(__file__).parents[1] / "results"


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    results: Path = _RESULTS
    """Folder of runs.csv and paired.csv."""


class Tester:
    """Which test images a configuration of one setting gets right."""

    def __init__(self, setting: Setting, data_root: Path) -> None:
        name, letter = setting
        network, splits = load_network(name).network, load_splits(name, "cifar10", data_root=data_root)
        assert isinstance(splits.test, ImageSet)
        assert splits.test.labels is not None
        self._images, self._labels = splits.test, splits.test.labels
        layers = find_layers(network, (3, 32, 32))
        quantizer, _ = PAPER[letter]
        versions = quantize_layers(
            *(network, layers, splits.search.images), quantizer=quantizer, bits=range(1, 9), bias_correction=True
        )
        self._engine = Engine(network, layers, versions, splits.search, [torch.device("cpu")])
        self._known: dict[str, np.ndarray] = {}

    def right(self, bits: str) -> np.ndarray:
        """For each test image, whether a configuration, written as in runs.csv, gets it right; bool ``(N,)``."""
        if bits not in self._known:
            logits = self._engine.logits(self._images, [int(b) for b in bits.split()])  # (N, K)
            self._known[bits] = (logits.argmax(1) == self._labels).numpy()  # (N,)
        return self._known[bits]


def median_run(rows: list[Row]) -> Row:
    """The run with the median test accuracy; of an even number, the lower one in the middle."""
    middle = statistics.median_low(float(row["test_accuracy"]) for row in rows)
    return next(row for row in rows if float(row["test_accuracy"]) == middle)


def pairs(results: Results, setting: Setting) -> list[tuple[Row, Row]]:
    """P-ADRL's run beside that of every other agent."""
    adrl = in_setting(results.runs, setting, agent="adrl")
    others = [in_setting(results.runs, setting, agent=agent, protocol=protocol) for agent, protocol in COMPARED]
    return [(median_run(adrl), median_run(rows)) for rows in others if adrl and rows]


def unmeasured(mine: Row, other: Row) -> Row:
    """A row of paired.csv as far as it is known before: what is compared."""
    return {name: other[name] for name in (*KEY, "bits")} | {"adrl_seed": mine["seed"], "adrl_bits": mine["bits"]}


def compared(row: Row) -> Row:
    """The same of a row that is measured."""
    return {name: row[name] for name in (*KEY, "bits", "adrl_seed", "adrl_bits")}


def main(options: Options) -> None:
    results, output = Results.load(options.results), options.results / "paired.csv"
    wanted = {setting: pairs(results, setting) for setting in results.settings()}
    asked = [unmeasured(*pair) for of_setting in wanted.values() for pair in of_setting]
    rows = [row for row in read_rows(output) if compared(row) in asked]
    known = [compared(row) for row in rows]
    for setting, of_setting in wanted.items():
        left = [pair for pair in of_setting if unmeasured(*pair) not in known]
        tester = Tester(setting, options.data_root) if left else None
        for mine, other in tqdm(left, " ".join(setting), disable=None):
            assert tester is not None
            adrl_right, right = tester.right(mine["bits"]), tester.right(other["bits"])  # (N,) both
            counts: dict[str, object] = {
                "images": len(right),
                "adrl_alone_right": int((adrl_right & ~right).sum()),
                "other_alone_right": int((right & ~adrl_right).sum()),
                "adrl_accuracy": round(100 * float(adrl_right.mean()), 4),
                "accuracy": round(100 * float(right.mean()), 4),
            }
            versions = {"torch": torch.__version__.partition("+")[0]}
            rows.append(unmeasured(mine, other) | {name: str(value) for name, value in counts.items()} | versions)
            write(rows, output)
    write(rows, output)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
