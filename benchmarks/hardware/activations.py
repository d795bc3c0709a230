"""Test accuracy with quantized activations beside float ones, at the same bits of weights.

    python -m benchmarks.hardware.activations --data-root FOLDER --imagenet FOLDER

ResNet20 on the 10,000 test images of CIFAR-10, with the same bits in all layers (``uniform``) and with those that ADRL
has found (comparison.csv); EfficientNet-Lite1 on a folder of ImageNet images, 300 to calibrate on and the others to
test on. Writes a row for each configuration, recipe and bit-width of activations into activations.csv in
benchmarks/results as it comes. Rows that are there are not measured again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import torch
import tyro

import adrl_gym.envs  # noqa: F401 - registers the ids
from adrl_agents.runs import git_commit
from adrl_gym.activations import Activations
from adrl_gym.envs import problem_of
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import Calibration
from benchmarks.harness.csv_file import read_rows, write_rows

RESULTS = Path(__file__).parents[1] / "results"
_EFFICIENTNET = "benchmarks/searches/efficientnet.py:efficientnet_lite1"
_RECIPES: dict[str, Calibration] = {"direct": "independent", "refit": "sequential"}
ROW_KEY = ("network", "budget", "agent", "seed", "recipe", "activation_bits")


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path | None = None
    """Folder of CIFAR-10; without it, ResNet20 is left out."""
    imagenet: Path | None = None
    """Folder of ImageNet images, with one folder a class; without it, EfficientNet-Lite1 is left out."""
    activations: tuple[Activations, ...] = ("float", 8, 6, 4)
    """Bits of activations of ResNet20; EfficientNet-Lite1 has float and 8."""
    threads: int = 1
    """Threads of PyTorch."""
    results: Path = RESULTS
    """Folder of activations.csv and comparison.csv."""


class _Configuration(NamedTuple):
    """Bits of all layers, and who chose them for which budget."""

    agent: str
    budget: float
    seed: str
    bits: tuple[int, ...]


def main(options: Options) -> None:
    """Measure what is missing."""
    torch.set_num_threads(options.threads)
    if options.data_root is not None:
        keywords = {"network": "resnet20", "data": "cifar10", "data_root": options.data_root}
        for activations in options.activations:
            _measure(options, "resnet20", activations, keywords)
    if options.imagenet is not None:
        keywords = {"network": _EFFICIENTNET, "data_root": options.imagenet, "images": 300}
        for activations in ("float", 8):
            _measure(options, "efficientnet_lite1", activations, keywords)


def _measure(options: Options, network: str, activations: Activations, keywords: dict[str, Any]) -> None:
    path = options.results / "activations.csv"
    problem: QuantProblem | None = None
    for chosen in _configurations(network, options.results):
        for recipe, calibration in _RECIPES.items():
            key = {
                "network": network,
                "budget": f"{chosen.budget:g}",
                "agent": chosen.agent,
                "seed": chosen.seed,
                "recipe": recipe,
                "activation_bits": str(activations),
            }
            rows = read_rows(path)
            if any(all(row[name] == key[name] for name in ROW_KEY) for row in rows):
                continue
            if problem is None:
                made = gym.make("adrl_gym/MixedPrecisionQuant-v0", budget=1.0, activations=activations, **keywords)
                problem = problem_of(made)
            bits = chosen.bits * (len(problem.layers) // len(chosen.bits))
            metrics, floats = problem.measure(problem.quantized(bits, calibration), "test"), problem.float_test
            assert floats is not None
            row = {
                **{"network": network, "budget_kind": "size", **key},
                "test_accuracy": f"{metrics.accuracy:.4f}",
                "float_test_accuracy": f"{floats.accuracy:.4f}",
                "test_kl": f"{metrics.kl:.6f}",
                "average_bits": f"{problem.average_bits(bits):.4f}",
                "bits": " ".join(map(str, bits)),
                "quantizer": problem.quantizer,
                "activation_range": problem.config.activation_range,
                "search_images": str(problem.images),
                "checkpoint": problem.checkpoint[:16],
                "torch": torch.__version__,
                "commit": str(git_commit()),
            }
            print(*key.values(), row["test_accuracy"], flush=True)
            write_rows(path, sorted([*rows, row], key=lambda one: [one[name] for name in ROW_KEY]))


def _configurations(network: str, results: Path) -> list[_Configuration]:
    """Return the configurations of one network; a single bit-width stands for all its layers."""
    if network != "resnet20":
        return [_Configuration("uniform", 0.25, "0", (8,))]
    found = [_Configuration("uniform", b / 32, "0", (b,)) for b in (8, 4, 2)]
    for row in read_rows(results / "comparison.csv"):
        plain = row["quantizer"] == "gptq" and row["protocol"] == "search" and not row["varied"] and row["seed"] == "0"
        if plain and (row["network"], row["agent"], row["budget"]) == (network, "adrl", "0.0625"):
            bits = tuple(int(b) for b in row["bits"].split())
            found.append(_Configuration("adrl", float(row["budget"]), row["seed"], bits))
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
