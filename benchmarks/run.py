"""Run a suite of searches, each by its own command line, and gather one row of results for each.

    python benchmarks/run.py --suite comparison --data-root D
    python benchmarks/run.py --suite choices --data-root D

Resumable: a finished run is not run again, a killed one goes on where it was. The rows are written
to benchmarks/results/SUITE.csv after every run; benchmarks/report.py makes tables of them.
"""

import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from tqdm import tqdm

from adrl_gym.data import load_splits
from adrl_gym.networks import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.result import SearchResult

ROOT = Path(__file__).parents[1]
NETWORKS = {"resnet20": "adrl_gym/ResNet20-Cifar10-v0", "cifarnet": "adrl_gym/CifarNet-Cifar10-v0"}
SETTINGS = (("linear", 0.1), ("gptq", 0.0625))  # quantizer, size over 32-bit size
SEEDS = range(5)
HAQ_EPISODES = 300
CHOICES_EPISODES = 25


@dataclass(frozen=True)
class Run:
    """One command line. ``varied`` are options that differ from the defaults."""

    network: str
    quantizer: str
    budget: float
    agent: str
    seed: int
    varied: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the run's folder."""
        options = "".join(f"-{key}={value}" for key, value in self.varied.items())
        return f"{self.network}-{self.quantizer}-{self.budget:g}-{self.agent}{options}-s{self.seed}"

    def command(self, data_root: Path, output: Path) -> list[str]:
        """The arguments for Python."""
        options = {
            "env-id": NETWORKS[self.network],
            "data": "cifar10",
            "data-root": data_root,
            "quantizer": self.quantizer,
            "budget": self.budget,
            "seed": self.seed,
            "output": output,
            **self.varied,
        }
        flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        return [str(ROOT / "agents" / f"train_{self.agent}.py"), *flags]


def comparison() -> list[Run]:
    """ADRL with its defaults and HAQ, on both networks and in both settings."""
    return [
        Run(network, quantizer, budget, agent, seed, varied)
        for seed in SEEDS
        for network in NETWORKS
        for quantizer, budget in SETTINGS
        for agent, varied in (("adrl", {}), ("haq", {"episodes": HAQ_EPISODES}))
    ]


def choices() -> list[Run]:
    """ADRL's open choices, one changed at a time, on ResNet20."""
    varied: list[dict[str, Any]] = [
        {"context": "single"},
        {"context": "prefix"},
        {"context": "completed"},
        {"indicator": "distance"},
        {"score": "accuracy"},
        {"score": "agreement"},
        {"k": 1},
        {"k": 2},
        {"k": 4},
    ]
    return [Run("resnet20", "linear", 0.1, "adrl", 0, {**options, "episodes": CHOICES_EPISODES}) for options in varied]


SUITES = {"comparison": comparison, "choices": choices}


@dataclass
class Options:
    """Options of a suite."""

    suite: Literal["comparison", "choices"]
    """Which searches to run."""
    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    processes: int = 2
    """Searches at a time; each uses one CPU thread."""
    runs: Path = Path("runs/benchmarks")
    """Folder of the runs' folders; runs of the same command are shared between suites."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""
    only: str = ""
    """Only runs whose name contains this."""
    gather: bool = False
    """Run nothing, gather what is finished."""


def finished(run: Run, options: Options) -> bool:
    """Whether the run's result is there."""
    result_file = options.runs / run.name / "result.json"
    return result_file.exists() and SearchResult.load(result_file).status == "finished"


def execute(run: Run, options: Options) -> SearchResult:
    """Run one command unless its result is there; raises ``RuntimeError`` with the output's end if it fails."""
    output = options.runs / run.name
    result_file = output / "result.json"
    if finished(run, options):
        return SearchResult.load(result_file)
    command = [
        sys.executable,
        *run.command(options.data_root, output),
        *(["--resume"] if output.exists() else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{run.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return SearchResult.load(result_file)


def row(run: Run, result: SearchResult) -> dict[str, Any]:
    """One line of the CSV."""
    return {
        "network": run.network,
        "agent": run.agent,
        "quantizer": run.quantizer,
        "budget": run.budget,
        "seed": run.seed,
        "protocol": "search",
        "varied": " ".join(f"{key}={value}" for key, value in run.varied.items() if key != "episodes"),
        "episodes": result.episodes,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "search_accuracy": result.search_accuracy,
        "test_accuracy": result.test_accuracy,
        "float_test_accuracy": result.float_test_accuracy,
        "average_bits": result.average_bits,
        "size_ratio": result.size_ratio,
        "bits": " ".join(map(str, result.bits.values())),
        "checkpoint": result.checkpoint[:16],
        "torch": result.versions["torch"],
        "commit": result.git_commit,
    }


def uniform(network: str, quantizer: str, budget: float, options: Options, like: dict[str, Any]) -> dict[str, Any]:
    """The row of the largest uniform bit-width that fits the budget; ``like`` is a row of the same setting."""
    problem = QuantProblem(
        load_network(network).network,
        load_splits(network, "cifar10", data_root=options.data_root),
        quantizer=quantizer,
        budget=budget,
    )
    bits = [int(budget * 32)] * len(problem.layers)
    search, test, float_test = problem.evaluate(bits), problem.test(bits), problem.float_test
    assert test is not None
    assert float_test is not None
    return {
        **like,
        "agent": "uniform",
        "seed": "",
        "varied": "",
        "episodes": 1,
        "evaluations": 1.0,
        "seconds": "",
        "search_accuracy": round(search.accuracy, 6),
        "test_accuracy": round(test.accuracy, 6),
        "float_test_accuracy": round(float_test.accuracy, 6),
        "average_bits": problem.average_bits(bits),
        "size_ratio": problem.size_ratio(bits),
        "bits": " ".join(map(str, bits)),
    }


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Replace the CSV whole, in a fixed order of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted(
        rows,
        key=lambda r: [str(r[key]) for key in ("network", "quantizer", "budget", "agent", "varied", "seed")],
    )
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def main(options: Options) -> None:
    options.data_root, options.runs = options.data_root.resolve(), options.runs.resolve()
    runs = [run for run in SUITES[options.suite]() if options.only in run.name]
    if options.gather:
        runs = [run for run in runs if finished(run, options)]
    path = options.results / f"{options.suite}.csv"
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.processes) as pool:
        futures = {pool.submit(execute, run, options): run for run in runs}
        for future in tqdm(as_completed(futures), options.suite, len(runs)):
            rows.append(row(futures[future], future.result()))
            write(rows, path)
    for setting in sorted({(r["network"], r["quantizer"], r["budget"]) for r in rows}):
        like = next(r for r in rows if (r["network"], r["quantizer"], r["budget"]) == setting)
        rows.append(uniform(*setting, options, like))
        write(rows, path)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
