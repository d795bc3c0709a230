"""Compare networks on a folder of images in pairs, image by image: ADRL's with the others', refitted with direct ones.

    python -m benchmarks.searches.imagenet_pairs --data-root FOLDER

Reads the runs of ``benchmarks.searches.imagenet`` and writes benchmarks/results/imagenet_pairs.csv: for each budget,
pair and measure the mean over the test images of the first one's value less the other's, with its 95 % bootstrap
interval. Below zero the first one is better, in all of them; an interval that holds zero is luck of the images.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.stats import bootstrap
from torch import nn
from tqdm import tqdm

from adrl_agents.postprocess import LoadedRun, Recipe, RunOptions, load_run, quantized_network
from adrl_gym.datasets import Images
from adrl_gym.evaluation import SCORES, sample_metrics, whole_logits
from adrl_gym.problem import QuantProblem
from benchmarks.harness.csv_file import write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_RECIPES: tuple[Recipe, ...] = ("direct", "refit")
_BATCH = 50  # test images
_DRAWS = 10_000
#: Agent and recipe -> measure -> float64 (N,); lower is better.
ImageCosts = dict[tuple[str, Recipe], dict[str, np.ndarray]]


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder of images that the runs were made on."""
    runs: Path = Path("runs/imagenet")
    """Folder of the runs, NETWORK-AGENT-BITS-sSEED each."""
    results: Path = _RESULTS
    """Folder of imagenet_pairs.csv."""


def test_costs(run: LoadedRun, recipe: Recipe, float_logits: torch.Tensor) -> dict[str, np.ndarray]:
    """Measure a run's network on each test image, beside the float one's predictions (N, K)."""
    test = run.problem.splits.test
    assert test is not None
    quantized = quantized_network(run, recipe).network.network
    found = sample_metrics(logits_of(quantized, test)[None], float_logits, test.labels)[0]
    return {score: found.costs(score) for score in SCORES}  # float64 (N,) each


def logits_of(network: nn.Module, images: Images) -> torch.Tensor:
    """Return a network's predictions, float32 ``(N, K)``, on the CPU."""
    return whole_logits(network, (batch for batch, _ in images.batches(_BATCH)))


def compared_pairs(networks: Iterable[tuple[str, Recipe]]) -> Iterator[tuple[tuple[str, Recipe], tuple[str, Recipe]]]:
    """Yield what is compared: ADRL's network with each other agent's, and each agent's refitted with its direct one."""
    for agent, recipe in networks:
        if agent != "adrl":
            yield ("adrl", recipe), (agent, recipe)
        if recipe != "direct":
            yield (agent, recipe), (agent, "direct")


def differences(costs: ImageCosts) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair and measure."""
    for one, other in compared_pairs(costs):
        for score in SCORES:
            difference = costs[one][score] - costs[other][score]  # (N,)
            interval = bootstrap(
                (difference,), np.mean, n_resamples=_DRAWS, method="percentile", rng=np.random.default_rng(0)
            ).confidence_interval
            yield {
                "agent": one[0],
                "recipe": one[1],
                "less_agent": other[0],
                "less_recipe": other[1],
                "cost": {"accuracy": "error", "agreement": "disagreement"}.get(score, score),
                "difference": round(float(difference.mean()), 6),
                "low": round(float(interval.low), 6),
                "high": round(float(interval.high), 6),
                "images": len(difference),
            }


def main(options: Options) -> None:
    """Write the file anew."""
    groups: dict[tuple[str, str, str], dict[str, Path]] = {}
    for folder in sorted(options.runs.glob("*/refit.json")):
        network, agent, bits, seed = folder.parent.name.rsplit("-", 3)
        groups.setdefault((network, bits, seed), {})[agent] = folder.parent
    rows: list[dict[str, Any]] = []
    shared: dict[str, tuple[QuantProblem, torch.Tensor]] = {}  # network -> its problem, float logits (N, K)
    for (network, bits, seed), runs in groups.items():
        if "adrl" not in runs:
            continue
        costs: ImageCosts = {}
        for agent, folder in tqdm(runs.items(), f"{network} {bits} bits", disable=None):
            problem, float_logits = shared.get(network, (None, None))
            run = load_run(RunOptions(run=folder, data_root=options.data_root), problem)
            if float_logits is None:
                run.problem.quantize_layers()  # once for the bits of all runs
                assert run.problem.splits.test is not None
                float_logits = logits_of(run.problem.network, run.problem.splits.test)
                shared[network] = run.problem, float_logits
            for recipe in _RECIPES:
                costs[agent, recipe] = test_costs(run, recipe, float_logits)
        about = {"network": network, "average_bits": bits, "seed": seed[1:]}
        rows += [{**about, **row} for row in differences(costs)]
        write_rows(options.results / "imagenet_pairs.csv", rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
