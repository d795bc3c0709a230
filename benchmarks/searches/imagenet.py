"""Search and refit a network on a folder of images, by the command lines that anyone would type.

    python -m benchmarks.searches.imagenet --data-root FOLDER

Writes benchmarks/results/imagenet.csv, a row for each agent, budget and recipe (direct or refit), after every run.
Finished runs are not run again, and rows of other agents and budgets stay. Accuracy on a few hundred images is noise,
so agreement, divergence and loss on the test images stand beside it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from adrl_agents.runs import SearchResult, load_history
from benchmarks.harness.csv_file import Row, read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_ROOT = _RESULTS.parents[1]
#: Name in the file -> arguments of the command.
_AGENTS = {
    "adrl": ["adrl"],
    "adrl+quarter": ["adrl", "--profile-images", "75"],  # the default until 250 images turned out to be better
    "adrl+measured": ["adrl", "--sensitivity", "measured", "--evaluations", "10000"],  # as long as it takes
    "haq": ["haq", "--episodes", "100"],
    "ip": ["search", "--method", "ip"],
    "ip+gradient": ["search", "--method", "ip", "--sensitivity", "gradient"],
    "greedy+gradient": ["search", "--method", "greedy", "--sensitivity", "gradient"],
    "uniform": ["search", "--method", "uniform", "--episodes", "1"],
}


@dataclass
class Options:
    """Options of the searches."""

    data_root: Path
    """Folder of images, with one folder a class."""
    network: str = "benchmarks/searches/efficientnet.py:efficientnet_lite1"
    """Network to search, as in the command lines: FILE.py:FACTORY, or torchvision:NAME."""
    bits: tuple[float, ...] = (4, 3, 5)
    """Average bits of a weight."""
    agents: tuple[str, ...] = ("adrl", "uniform", "ip+gradient", "greedy+gradient")
    """Agents and searches; also adrl+quarter, adrl+measured, haq and ip."""
    images: int = 300
    """Search images."""
    minutes: float | None = None
    """Most minutes of a search."""
    seed: int = 0
    """Seed of the searches."""
    runs: Path = Path("runs/imagenet")
    """Folder of the runs."""
    results: Path = _RESULTS
    """Folder of imagenet.csv."""

    @property
    def name(self) -> str:
        """Name of the network in the file: that of its factory."""
        return self.network.rpartition(":")[2]


def main(options: Options) -> None:
    """Run what is missing, and write the file anew after each."""
    file = options.results / "imagenet.csv"
    for bits in options.bits:
        for agent in options.agents:
            output = options.runs / f"{options.name}-{agent}-{bits:g}-s{options.seed}"
            if not (output / "refit.json").exists():
                _run(_search(options, agent, bits / 32, output))
                _run(["refit", str(output), "--data-root", str(options.data_root)])
            write_rows(file, with_rows(read_rows(file), _rows(options, agent, bits / 32, output)))


def with_rows(known: list[Row], rows: list[dict[str, Any]]) -> list[Mapping[str, object]]:
    """Return the known rows, and rows in the place of those of the same run; in the order of networks and budgets."""
    made = {_key(row) for row in rows}
    return sorted([*(row for row in known if _key(row) not in made), *rows], key=_key)


def _key(row: Mapping[str, Any]) -> tuple[str, float, str, int, str]:
    return row["network"], float(row["budget"]), row["agent"], int(row["seed"]), row["recipe"]


def _search(options: Options, agent: str, budget: float, output: Path) -> list[str]:
    values: dict[str, Any] = {
        "network": options.network,
        "data-root": options.data_root,
        "images": options.images,
        "budget": budget,
        "seed": options.seed,
        "cache": "none",
        "output": output,
    }
    if options.minutes is not None:
        values["minutes"] = options.minutes
    return [
        *_AGENTS[agent],
        *(str(part) for name, value in values.items() for part in (f"--{name}", value)),
        "--resume",
    ]


def _run(arguments: list[str]) -> None:
    print("adrl-gym", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "adrl_gym", *arguments], cwd=_ROOT, check=True)


def _rows(options: Options, agent: str, budget: float, output: Path) -> list[dict[str, Any]]:
    result = SearchResult.load(output / "result.json")
    refit = json.loads((output / "refit.json").read_text())
    first = load_history(output / "episodes.csv")[0]
    rows = []
    for recipe in ("direct", "refit"):
        preparation = result.preparation_seconds
        measured = {
            f"test_{name}": round(refit[f"test_{name}"][recipe], 6) for name in ("accuracy", "agreement", "kl", "loss")
        }
        rows.append(
            {
                "network": options.name,
                "agent": agent,
                "quantizer": result.options["quantizer"],
                "budget": budget,
                "seed": result.seed,
                "recipe": recipe,
                "images": result.options["images"],
                "first_seconds": round(preparation + first.seconds, 1),
                "seconds": round(preparation + result.seconds + (refit["seconds"] if recipe == "refit" else 0), 1),
                "cpu_seconds": result.cpu_seconds,  # of the search alone; beside other work the clock's tell little
                "first_evaluations": first.evaluations,
                "evaluations": result.evaluations,
                "search_accuracy": round(refit["search_accuracy"][recipe], 4),
                "float_test_accuracy": round(refit["test_accuracy"]["float"], 4),
                "float_test_loss": round(refit["test_loss"]["float"], 6),
                **measured,
                "bits": " ".join(map(str, result.bits.values())),
                "checkpoint": result.checkpoint[:16],
                "torch": result.versions["torch"],
                "commit": result.git_commit,
            }
        )
    return rows


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
