"""How fast evaluations are: ratios against the plain way, measured side by side.

    python -m benchmarks.experiments.speed --data-root D

Every figure is the time of a variant over that of its reference. The two alternate in one process, and a row holds the
median, least and largest ratio over the repeats. Each network is measured in a process of its own, whose peak memory
the rows give. The searches are whole command lines: with --before, also those of an earlier commit's checkout. Rows go
to benchmarks/results/speed.csv; those of networks that are not measured in this call stay.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
import torchvision
import tyro

from adrl_gym.datasets import ImageSet, Splits, load_splits
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from benchmarks.experiments.speed_cases import (
    Bench,
    SpeedRow,
    Work,
    alternate,
    bfloat16_cases,
    candidate_cases,
    forward_cases,
    layer_cases,
    row,
)
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_COLUMNS = ("network", "images", "case", "variant", "reference", "ratio", "ratio_min", "ratio_max", "peak_mib")
_Case = Literal["resnet20", "cifarnet", "resnet20-10000", "cifarnet-10000", "resnet50", "search"]


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    cases: tuple[_Case, ...] = get_args(_Case)
    """Cases to measure."""
    repeats: int = 3
    """Number of turns of variant and reference."""
    results: Path = _RESULTS
    """Folder of speed.csv."""
    before: Path | None = None
    """Checkout of an earlier commit, whose searches are compared with."""
    here: bool = False
    """Measure one case in this process and print rows as JSON: what the command calls itself with."""


def _measure(case: _Case, options: Options) -> Iterator[SpeedRow]:
    """Rows of one case."""
    if case == "resnet50":
        torch.manual_seed(0)
        network = torchvision.models.resnet50().eval()
        images = ImageSet(torch.randn(64, 3, 224, 224), torch.zeros(64, dtype=torch.long))
        bench = Bench(network, images, layers=(0, 1, -2, -1), quantizer="linear")
        for found in itertools.chain(forward_cases(bench, options.repeats), layer_cases(bench, options.repeats)):
            yield {"network": "resnet50", "images": 64, **found}
        return
    name, _, count = case.partition("-")
    network = load_network(name).network
    splits = load_splits(name, "cifar10", data_root=options.data_root)
    if count:
        assert isinstance(splits.test, ImageSet)
        bench = Bench(network, splits.test, layers=(), quantizer="linear")
        for found in forward_cases(bench, options.repeats):
            yield {"network": name, "images": len(splits.test), **found}
        return
    bench = Bench(network, splits.search, layers=(), quantizer="linear")
    problem = QuantProblem(network, Splits(splits.search, None, splits.source), quantizer="linear")
    rows = itertools.chain(
        forward_cases(bench, options.repeats),
        bfloat16_cases(bench, options.repeats),
        layer_cases(bench, options.repeats),
        candidate_cases(problem, bench, options.repeats),
    )
    for found in rows:
        yield {"network": name, "images": len(splits.search), **found}


def searches(options: Options) -> Iterator[SpeedRow]:
    """Whole command lines: 40 episodes in context single, and one in completed, before and now, cold and warm."""
    now = Path(__file__).parents[2]
    variants = {
        "context single": ["--context", "single"],
        "context completed, 1 episode": ["--context", "completed", "--episodes", "1"],
    }
    for variant, more in variants.items():
        with tempfile.TemporaryDirectory() as folder:
            memo = Path(folder) / "memo.sqlite"

            def run(root: Path, memory: list[str], more: list[str] = more, folder: str = folder) -> Work:
                # A new folder for every run, so that none is resumed.
                return lambda: search(root, Path(tempfile.mkdtemp(dir=folder)) / "run", options, [*more, *memory])

            works = [run(now, ["--cache", "none"]), run(now, ["--cache", str(memo)])]
            works += [] if options.before is None else [run(options.before.resolve(), [])]
            works[1]()  # fills the memo
            cold, warm, *before = alternate(options.repeats, *works, first=False)
            found = [row("search_warm", f"{variant}, warm memo", f"{variant}, no memo", warm, cold)]
            for seconds in before:
                earlier = f"{variant}, commit {head(options.before)}"
                found.append(row("search_cold", f"{variant}, no memo", earlier, cold, seconds))
            for line in found:
                yield {"network": "resnet20", "images": 1000, **line}


def search(root: Path, output: Path, options: Options, more: list[str]) -> None:
    """``agents/train_adrl.py`` of a checkout."""
    command = [sys.executable, str(root / "agents" / "train_adrl.py"), "--data", "cifar10"]
    command += ["--data-root", str(options.data_root), "--output", str(output), *more]
    path = os.pathsep.join([str(root), str(root / "agents")])
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})


def head(root: Path | None) -> str:
    """Short hash of a checkout's commit."""
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def peak_mib() -> int:
    """The most memory that this process, and any that it waited for, has had."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024


def _write(rows: list[SpeedRow], output: Path) -> None:
    """Put the rows in the place of those of the same networks, images and cases."""
    key = ("network", "images", "case")
    fresh = {tuple(str(r[k]) for k in key) for r in rows}
    kept = [r for r in read_rows(output) if tuple(r[k] for k in key) not in fresh]
    write_rows(output, [*kept, *rows])


def main(options: Options) -> None:
    options.data_root = options.data_root.resolve()
    if options.here:
        (case,) = options.cases
        rows = list(searches(options) if case == "search" else _measure(case, options))
        print(json.dumps([{**r, "peak_mib": peak_mib()} for r in rows]))
        return
    for case in options.cases:
        command = [
            sys.executable,
            "-m",
            "benchmarks.experiments.speed",
            "--here",
            "--cases",
            case,
            "--data-root",
            str(options.data_root),
        ]
        command += ["--repeats", str(options.repeats)]
        command += [] if options.before is None else ["--before", str(options.before)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows = json.loads(done.stdout.splitlines()[-1])
        _write(rows, options.results / "speed.csv")
        for r in rows:
            print(" | ".join(str(r[c]) for c in _COLUMNS), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
