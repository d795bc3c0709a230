"""HAQ's mode: bits of weights and of activations searched under a budget of bit operations, on ResNet20.

    python -m benchmarks.hardware.searched_activations --data-root FOLDER

Runs ADRL, HAQ, integer programming and the best uniform pair of bit-widths for each budget and seed, and tests what
each has found on the 10,000 test images of CIFAR-10. Adds a row for each run to activations.csv in benchmarks/results
as it comes, with ``search`` as its bits of activations. Runs that stopped are gone on with, and rows that are there are
not made again. The searches that draw nothing have one seed.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from adrl_agents.runs import SearchResult
from benchmarks.hardware.activations import RESULTS, ROW_KEY
from benchmarks.harness.csv_file import read_rows, write_rows

_COMMANDS = {
    "uniform": ("search", "--method", "uniform"),
    "ip": ("search", "--method", "ip"),
    "adrl": ("adrl",),
    "haq": ("haq",),
}
_DRAWS = ("adrl", "haq")  # something at random


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder of CIFAR-10."""
    budgets: tuple[int, ...] = (64, 100)
    """Bit operations in 32 x 32 bits over those allowed."""
    agents: tuple[str, ...] = ("uniform", "ip", "adrl", "haq")
    """Agents and searches to run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of ADRL and HAQ."""
    haq_episodes: int = 300
    """Episodes of HAQ."""
    adrl_episodes: int = 60
    """Episodes of ADRL, whose indicator measures more in each."""
    images: int = 1000
    """Search images."""
    output: Path = Path("runs/searched-activations")
    """Folder of the runs."""
    results: Path = RESULTS
    """Folder of activations.csv."""


def main(options: Options) -> None:
    """Run what is missing."""
    for seed in options.seeds:
        for budget in options.budgets:
            for agent in options.agents:
                if seed == options.seeds[0] or agent in _DRAWS:
                    _run(options, agent, budget, seed)


def _run(options: Options, agent: str, budget: int, seed: int) -> None:
    path = options.results / "activations.csv"
    key = {
        "network": "resnet20",
        "budget": f"{1 / budget:g}",
        "agent": agent,
        "seed": str(seed),
        "recipe": "direct",
        "activation_bits": "search",
    }
    if any(all(row[name] == key[name] for name in ROW_KEY) for row in read_rows(path)):
        return
    folder = options.output / f"{agent}-{budget}-s{seed}"
    episodes = {"haq": options.haq_episodes, "adrl": options.adrl_episodes}
    command = [
        *(sys.executable, "-m", "adrl_gym", *_COMMANDS[agent]),
        *("--env-id", "adrl_gym/ResNet20-Cifar10-v0", "--data", "cifar10", "--data-root", str(options.data_root)),
        *("--activations", "search", "--budget", f"bitops={1 / budget}", "--images", str(options.images)),
        *("--episodes", str(episodes.get(agent, 10)), "--seed", str(seed), "--output", str(folder), "--resume"),
    ]
    subprocess.run(command, check=True)
    result = SearchResult.load(folder / "result.json")
    assert result.activation_bits is not None
    assert result.test_kl is not None
    row = {
        **{"network": "resnet20", "budget_kind": "bitops", **key},
        "test_accuracy": f"{result.test_accuracy:.4f}",
        "float_test_accuracy": f"{result.float_test_accuracy:.4f}",
        "test_kl": f"{result.test_kl:.6f}",
        "average_bits": f"{result.average_bits:.4f}",
        "bits": " ".join(map(str, [*result.bits.values(), *result.activation_bits.values()])),
        "quantizer": str(result.options["quantizer"]),
        "activation_range": str(result.options.get("activation_range", "mse")),
        "search_images": str(result.options["images"]),
        "checkpoint": result.checkpoint[:16],
        "torch": result.versions["torch"],
        "commit": str(result.git_commit),
    }
    print(*key.values(), row["test_accuracy"], flush=True)
    write_rows(path, sorted([*read_rows(path), row], key=lambda one: [one[name] for name in ROW_KEY]))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
