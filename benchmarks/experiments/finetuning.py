"""Finetune networks of ADRL's, HAQ's and uniform bits, from direct and from refitted weights: results/finetune.csv.

    python -m benchmarks.experiments.finetuning --data-root D

The bits are those of the searches in results/comparison.csv and results/runs.csv. The best epoch is chosen on the
5,000 images of the search split; the quantizer sees the first 1,000 of them, as in the searches. Test accuracy is only
written down. Resumable: a run goes on after its last whole epoch, and its rows are written after each.
"""

import dataclasses
import fcntl
import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal, cast

import torch
import tyro

from adrl_agents.runs import git_commit
from adrl_gym.datasets import cifar10_splits, load_cifar10
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.qat import Finetuned, Finetuning, finetune
from adrl_gym.refit import refit
from benchmarks.harness.csv_file import read_rows, write_rows
from benchmarks.harness.metric_columns import nats
from benchmarks.harness.signals import run_stoppable
from benchmarks.harness.suites import ROOT

_Row = dict[str, Any]
QUANTIZER = "gptq"
POLL_SECONDS = 10.0


@dataclass(frozen=True)
class FinetuneRun:
    """A finetuning: the bits of one search, and what its network begins as."""

    network: str
    agent: str
    budget: float
    seed: int
    start: Literal["direct", "refit"]

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.network}-{QUANTIZER}-{self.budget:g}-{self.agent}-s{self.seed}-{self.start}"


RUNS = (  # the most important ones first
    FinetuneRun("resnet20", "adrl", 0.0625, 0, "refit"),
    FinetuneRun("resnet20", "haq", 0.0625, 0, "direct"),
    FinetuneRun("resnet20", "uniform", 0.0625, 0, "refit"),
    FinetuneRun("resnet20", "adrl", 0.0625, 1, "refit"),
    FinetuneRun("resnet20", "adrl", 0.05, 0, "refit"),
    FinetuneRun("resnet20", "haq", 0.0625, 1, "direct"),
    FinetuneRun("resnet20", "adrl", 0.1, 0, "refit"),
    FinetuneRun("resnet20", "adrl", 0.0625, 0, "direct"),
    FinetuneRun("resnet20", "haq", 0.0625, 0, "refit"),
    FinetuneRun("resnet20", "haq", 0.0625, 1, "refit"),
    FinetuneRun("resnet20", "uniform", 0.0625, 0, "direct"),
    FinetuneRun("cifarnet", "adrl", 0.0625, 0, "refit"),
)


@dataclass
class Options:
    """Options of the finetunings."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    processes: int = 2
    """Finetunings at a time; each uses one CPU thread."""
    epochs: int = Finetuning.epochs
    """Passes over the 45,000 training images."""
    runs: Path = Path("runs/finetuning")
    """Folder of the runs' folders."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""
    only: str = ""
    """Only runs whose name contains this."""


def bits_of(run: FinetuneRun, results: Path) -> tuple[int, ...] | None:
    """Return what the search found, if a CSV file of searches has it."""
    wanted = {"network": run.network, "agent": run.agent, "quantizer": QUANTIZER, "seed": str(run.seed), "varied": ""}
    for path in (results / "comparison.csv", results / "runs.csv"):
        for row in read_rows(path):
            if float(row["budget"]) == run.budget and all(row[name] == value for name, value in wanted.items()):
                return tuple(map(int, row["bits"].split()))
    return None


def _train(run: FinetuneRun, bits: tuple[int, ...], options: Options) -> None:
    """One finetuning, from the beginning or from where it stopped; keeps its rows in its folder."""
    os.setsid()  # Ctrl-C reaches it through main alone
    torch.set_num_threads(1)
    folder, settings = options.runs / run.name, Finetuning(epochs=options.epochs)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # where a killed call has left a process that still trains it, wait
        network = load_network(run.network).network
        splits = cifar10_splits(options.data_root, 1000)
        problem = QuantProblem(network, splits, quantizer=QUANTIZER, budget=run.budget)
        finetune(
            network,
            refit(problem, bits) if run.start == "refit" else problem.quantized(bits),
            train=load_cifar10(options.data_root, "train"),
            search=load_cifar10(options.data_root, "search"),
            test=splits.test,
            settings=settings,
            state=folder / "state.pt",
            resume=True,
            on_epoch=lambda done: write_rows(folder / "rows.csv", rows_of(run, bits, done, problem, settings)),
        )


def rows_of(
    run: FinetuneRun, bits: tuple[int, ...], done: Finetuned, problem: QuantProblem, settings: Finetuning
) -> Iterator[_Row]:
    """A row for each epoch so far."""
    for epoch in done.epochs:
        yield {
            **dataclasses.asdict(run),
            "epoch": epoch.epoch,
            "search_accuracy": round(epoch.search_accuracy, 4),
            "test_accuracy": round(epoch.test_accuracy or 0.0, 4),
            "test_agreement": _rounded(epoch.test_agreement, 4),
            "test_kl": nats(epoch.test_kl),
            "test_loss": nats(epoch.test_loss),
            "search_kl": nats(epoch.search_kl),
            "float_test_accuracy": round(done.float_test_accuracy or 0.0, 4),
            "float_search_accuracy": round(done.float_search_accuracy, 4),
            "best": int(epoch is done.best),
            "loss": _rounded(epoch.loss, 5),
            "learning_rate": f"{epoch.learning_rate:.3g}",
            "quantizer": QUANTIZER,
            "bits": " ".join(map(str, bits)),
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "peak_learning_rate": settings.learning_rate,
            "distillation": int(settings.distillation),
            "precision": done.precision,
            "checkpoint": problem.checkpoint[:16],
            "torch": torch.__version__.partition("+")[0],
            "commit": git_commit(),
        }


def _rounded(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits)


def _gather(options: Options) -> None:
    """Write finetune.csv anew: the rows of all runs in their folder, and its own of others."""
    path, rows = options.results / "finetune.csv", list[_Row]()
    before = read_rows(path)
    for run in RUNS:
        key = {name: str(value) for name, value in dataclasses.asdict(run).items()}
        there = read_rows(options.runs / run.name / "rows.csv")
        rows += there or [row for row in before if key.items() <= row.items()]
    if rows:
        write_rows(path, rows)


def is_finished(run: FinetuneRun, options: Options) -> bool:
    """Return whether its last epoch is there."""
    rows = read_rows(options.runs / run.name / "rows.csv")
    return bool(rows) and int(rows[-1]["epoch"]) == int(rows[-1]["epochs"]) == options.epochs


def main(options: Options) -> int:
    options.data_root, options.runs = options.data_root.resolve(), options.runs.resolve()
    options.runs.mkdir(parents=True, exist_ok=True)
    waiting = [run for run in RUNS if options.only in run.name and not is_finished(run, options)]
    running: dict[int, tuple[FinetuneRun, SpawnProcess]] = {}  # by what tells that it has ended
    failed: dict[str, str] = {}
    # Spawned: a fork of a process in which PyTorch has threads may hang.
    context = multiprocessing.get_context("spawn")
    while True:
        while len(running) < options.processes and (found := next_run(waiting, options)) is not None:
            process = context.Process(target=_train, args=(*found, options), daemon=True)
            process.start()
            running[process.sentinel] = found[0], process
        _gather(options)
        if not running:
            break
        for sentinel in wait(list(running), POLL_SECONDS):
            run, process = running.pop(cast(int, sentinel))
            process.join()
            if process.exitcode:
                failed[run.name] = f"ended with status {process.exitcode}"
            print(f"{run.name}: {failed.get(run.name, 'finished')}", flush=True)
    failed |= {run.name: "waits for the bits of its search" for run in waiting}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def next_run(waiting: list[FinetuneRun], options: Options) -> tuple[FinetuneRun, tuple[int, ...]] | None:
    """Takes the first run whose bits are known from those that wait."""
    for run in waiting:
        if (bits := bits_of(run, options.results)) is not None:
            waiting.remove(run)
            return run, bits
    return None


if __name__ == "__main__":
    run_stoppable(lambda: main(tyro.cli(Options, description=__doc__)))
