"""Time ADRL's default search on AlexNet and ResNet50 at full size, and its peak memory.

    python -m benchmarks.searches.full_size --data-root FOLDER

The networks have random weights: the work is that of trained ones, and no accuracy is told. Each search is the command
that anyone would type. A row of benchmarks/results/full_size.csv is written after each; a second call goes on with what
is left. On a machine with nothing else.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro

from adrl_agents.runs import SearchResult, load_history
from benchmarks.harness.csv_file import add_row, read_rows

_RESULTS = Path(__file__).parents[1] / "results"
_ROOT = _RESULTS.parents[1]
_NETWORKS = "benchmarks/searches/random_weights.py"


@dataclass
class Options:
    """Options of the searches."""

    data_root: Path
    """Folder of images, with one folder a class."""
    networks: tuple[str, ...] = ("alexnet", "resnet50")
    """Networks of random_weights.py."""
    images: int = 250
    """Search images."""
    runs: Path = Path("runs/full_size")
    """Folder of the runs."""
    results: Path = _RESULTS
    """Folder of full_size.csv."""


class CommandCost(NamedTuple):
    """Resources that a command took.

    Attributes:
        seconds: of the clock, from its start to its end.
        cpu_seconds: of all its threads.
        peak_gib: largest resident memory, in GiB; at least that of the process that started it.
    """

    seconds: float
    cpu_seconds: float
    peak_gib: float


def command_cost(arguments: list[str]) -> CommandCost:
    """Run ``adrl-gym`` with these arguments.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "adrl_gym", *arguments], cwd=_ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return CommandCost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)  # Linux counts in KiB


def row_of(network: str, run: Path, cost: CommandCost) -> dict[str, Any]:
    """Return the row of a search that is over.

    Args:
        network: its name in the file.
        run: folder of the search.
        cost: of the whole command.
    """
    result, first = SearchResult.load(run / "result.json"), load_history(run / "episodes.csv")[0]
    return {
        "network": network,
        "layers": len(result.bits),
        "images": result.options["images"],
        "quantizer": result.options["quantizer"],
        "budget": result.options["budget"],
        "seed": result.seed,
        "first_seconds": round(result.preparation_seconds + first.seconds, 1),
        "first_evaluations": first.evaluations,
        "evaluations": result.evaluations,
        "seconds": round(cost.seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "peak_gib": round(cost.peak_gib, 2),
        "threads": torch.get_num_threads(),
        "torch": result.versions["torch"],
        "commit": result.git_commit,
    }


def main(options: Options) -> None:
    """Run what is missing."""
    file = options.results / "full_size.csv"
    known = {(row["network"], row["images"]) for row in read_rows(file)}
    for name in options.networks:
        if (name, str(options.images)) in known:
            continue
        run = (options.runs / f"{name}-{options.images}").resolve()
        arguments = ["adrl", "--network", f"{_NETWORKS}:random_{name}", "--data-root", str(options.data_root.resolve())]
        arguments += ["--images", str(options.images), "--cache", "none", "--output", str(run)]
        add_row(file, row_of(name, run, command_cost(arguments)))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
