"""Time Ray against plain processes: a sweep on two cores, and one search with two workers.

    python -m benchmarks.cluster.overhead --data-root CIFAR --imagenet IMAGES

Writes benchmarks/results/ray.csv; rows of a case that is not asked for stay. The variants of a case take turns, and the
ratio of their times is taken turn by turn. On a machine with two cores and nothing else.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from adrl_agents.runs import SearchResult, git_commit
from benchmarks.harness.csv_file import Row, read_rows, write_rows
from benchmarks.harness.suites import ROOT

_BUDGETS = "0.05", "0.0625", "0.08", "0.1"
Timed = Callable[[Path], float]  # runs in a fresh folder; the seconds that it took


@dataclass
class Options:
    """Options of the timing."""

    data_root: Path | None = None
    """Folder that holds cifar-10-batches-py, for the sweep."""
    imagenet: Path | None = None
    """Folder of ImageNet images, for the search at 240 pixels."""
    repeats: int = 3
    """Turns of each variant."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV file."""


def begin_command(*arguments: object) -> "subprocess.Popen[bytes]":
    """Start a command of adrl-gym on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    given = [sys.executable, "-m", "adrl_gym", *map(str, arguments)]
    return subprocess.Popen(given, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(*processes: "subprocess.Popen[bytes]") -> float:
    """Return the seconds until all of them, which have just begun, have ended."""
    start = time.monotonic()
    for process in processes:
        if process.wait():
            raise SystemExit(f"{' '.join(map(str, process.args))} failed")  # type: ignore[arg-type]
    return time.monotonic() - start


def sweep_variants(data_root: Path) -> dict[str, Timed]:
    """Return the sweep on Ray, and by hand as two processes of which each takes every other budget."""
    common = ("sweep", "--data", "cifar10", "--data-root", data_root, "--output")

    def on_ray(folder: Path) -> float:
        return timed(begin_command(*common, folder, "--ray", "local", "--budgets", *_BUDGETS))

    def by_hand(folder: Path) -> float:
        halves = (_BUDGETS[0::2], _BUDGETS[1::2])
        return timed(*(begin_command(*common, folder / str(i), "--budgets", *half) for i, half in enumerate(halves)))

    return {"two processes": by_hand, "ray local": on_ray}


def search_variants(images: Path) -> dict[str, Timed]:
    """Return the seconds of one search, which only measures configurations, on one and on two workers."""
    network = "benchmarks/searches/efficientnet.py:efficientnet_lite1"
    problem = ("--network", network, "--data-root", images, "--images", 256, "--quantizer", "linear")
    search = ("search", "--method", "random", "--episodes", 40, "--cache", "none", "--activation-gib", 0)

    def run(folder: Path, workers: int) -> float:
        timed(begin_command(*search, *problem, "--output", folder, "--workers", workers))
        return SearchResult.load(folder / "result.json").seconds

    return {
        "1 worker": lambda folder: run(folder, 1),
        "2 workers": lambda folder: run(folder, 2),
    }


def timing_rows(case: str, variants: dict[str, Timed], repeats: int) -> list[Row]:
    """Return a row for each variant: its median time, and the ratio to the first one, turn by turn."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(run(Path(folder) / "run"))
            print(f"{case}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    reference = next(iter(variants))
    rows = []
    for name, times in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(times, seconds[reference], strict=True)]
        rows.append(
            {
                "case": case,
                "variant": name,
                "reference": reference,
                "seconds": f"{statistics.median(times):.1f}",
                "ratio": f"{statistics.median(ratios):.3f}",
                "ratio_min": f"{min(ratios):.3f}",
                "ratio_max": f"{max(ratios):.3f}",
                "repeats": str(repeats),
                "cores": str(len(os.sched_getaffinity(0))),
                "torch": torch.__version__,
                "commit": git_commit() or "",
            }
        )
    return rows


def main(options: Options) -> None:
    file = options.results / "ray.csv"
    cases: dict[str, dict[str, Timed]] = {}
    if options.imagenet is not None:
        cases["search, EfficientNet-Lite1"] = search_variants(options.imagenet.resolve())
    if options.data_root is not None:
        cases["sweep of 4 searches"] = sweep_variants(options.data_root.resolve())
    for case, variants in cases.items():
        rows = timing_rows(case, variants, options.repeats)
        write_rows(file, [*(row for row in read_rows(file) if row["case"] != case), *rows])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
