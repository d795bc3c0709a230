"""Compare ADRL's networks on a folder of images with every other one, image by image.

    python -m benchmarks.searches.imagenet_pairs --data-root FOLDER

Reads the runs of ``benchmarks.searches.imagenet`` and writes benchmarks/results/imagenet_pairs.csv: for each budget,
recipe and measure the mean over the test images of ADRL's value less the other's, with its 95 % bootstrap interval.
Below zero ADRL is better, in all of them; an interval that holds zero is luck of the images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from scipy.stats import bootstrap
from tqdm import tqdm

from adrl_agents.postprocess import LoadedRun, Recipe, RunOptions, load_run, quantized_network
from adrl_gym.evaluation import SCORES, SampleMetrics, sample_metrics
from benchmarks.harness.csv_file import write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_RECIPES: tuple[Recipe, ...] = ("direct", "refit")
_DRAWS = 10_000


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder of images that the runs were made on."""
    runs: Path = Path("runs/imagenet")
    """Folder of the runs, NETWORK-AGENT-BITS-sSEED each."""
    results: Path = _RESULTS
    """Folder of imagenet_pairs.csv."""


def test_metrics(run: LoadedRun, recipe: Recipe) -> SampleMetrics:
    """Measure a run's network on each test image."""
    quantized, splits = quantized_network(run, recipe).network.network.eval(), run.problem.splits
    assert splits.test is not None
    logits: list[list[torch.Tensor]] = [[], []]
    with torch.inference_mode():
        for images, _ in splits.test.batches(50):  # (B, C, H, W)
            for network, found in zip((quantized, run.problem.network), logits, strict=True):
                found.append(network(images))  # (B, K)
    return sample_metrics(torch.cat(logits[0])[None], torch.cat(logits[1]), splits.test.labels)[0]


def main(options: Options) -> None:
    """Write the file anew."""
    groups: dict[tuple[str, str, str], dict[str, Path]] = {}
    for folder in sorted(options.runs.glob("*/refit.json")):
        network, agent, bits, seed = folder.parent.name.rsplit("-", 3)
        groups.setdefault((network, bits, seed), {})[agent] = folder.parent
    rows = []
    for (network, bits, seed), runs in groups.items():
        if "adrl" not in runs:
            continue
        costs: dict[tuple[str, Recipe], dict[str, np.ndarray]] = {}
        for agent, folder in tqdm(runs.items(), f"{network} {bits} bits", disable=None):
            run = load_run(RunOptions(run=folder, data_root=options.data_root))
            for recipe in _RECIPES:
                found = test_metrics(run, recipe)
                costs[agent, recipe] = {score: found.costs(score) for score in SCORES}  # float64 (N,) each
        for agent, recipe in costs:
            for score in SCORES if agent != "adrl" else ():
                difference = costs["adrl", recipe][score] - costs[agent, recipe][score]  # (N,)
                interval = bootstrap(
                    (difference,), np.mean, n_resamples=_DRAWS, method="percentile", rng=np.random.default_rng(0)
                ).confidence_interval
                rows.append(
                    {
                        "network": network,
                        "average_bits": bits,
                        "seed": seed[1:],
                        "recipe": recipe,
                        "agent": agent,
                        "cost": {"accuracy": "error", "agreement": "disagreement"}.get(score, score),
                        "adrl_less_agent": round(float(difference.mean()), 6),
                        "low": round(float(interval.low), 6),
                        "high": round(float(interval.high), 6),
                        "images": len(difference),
                    }
                )
        write_rows(options.results / "imagenet_pairs.csv", rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
