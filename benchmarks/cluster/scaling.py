"""Simulate how a sweep and a search speed up from 1 to 1,000 workers.

    python -m benchmarks.cluster.scaling

Reads measured times and sizes (runs.csv, ray_inputs.csv) and writes benchmarks/results/ray_scaling.csv. Nothing here
is a measurement of a cluster: it is the arithmetic of docs/howto/many-machines.md.
"""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.harness.csv_file import Row, read_rows, write_rows
from benchmarks.harness.suites import ROOT

_WORKERS = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000
_CORES = 32  # workers of one machine, which share its network
_BANDWIDTH = 1.25e9  # bytes a second of one machine: 10 Gbit/s
_SEARCHES = 1000  # of the large sweep
_RESULT_BYTES = 3e6  # of the folder of one search
_EPISODES, _SLICES = 600, 20  # of a search with finetuned rewards: 1,000 images in slices of 50
_EVALUATIONS, _IMAGES, _SLICE = 40, 50_000, 8  # of a search on ResNet50
_GRADIENT_IMAGES = 64 + 250 + 500  # of ADRL's tables, which are made in one process ...
_GRADIENT_PASSES = 10  # ... in so many passes of each image (depth.csv: 2.5 of 200 images, for 50 of them)
_WIDTHS = 8


@dataclass(frozen=True)
class Point:
    """Time of one case.

    Attributes:
        seconds: of the whole.
        parts: name -> seconds of what the time consists of.
    """

    seconds: float
    parts: dict[str, float]


def sweep(durations: Sequence[float], workers: int, start: float, send: float) -> Point:
    """Return the time of a sweep: the next search goes to the first worker that is free, as Ray has it.

    Args:
        durations: of the searches, in the order in which they are begun.
        workers: how many.
        start: seconds until a worker has begun.
        send: seconds that the driver takes to receive and write one result.
    """
    free = [start] * workers
    written = 0.0
    ends = []
    for duration in durations:
        end = heapq.heappop(free) + duration
        ends.append(end)
        heapq.heappush(free, end)
    for end in sorted(ends):
        written = max(written, end) + send
    busiest = max(durations)
    return Point(written, {"the longest search": busiest, "results": send * len(durations), "start": start})


def finetuned(episode: float, evaluation: float, workers: int, start: float, call: float) -> Point:
    """Return the time of one search with finetuned rewards: only evaluations are spread.

    Args:
        episode: seconds of finetuning and of the agent, in one process.
        evaluation: seconds of measuring a configuration.
        workers: how many.
        start: seconds until the workers have begun, all at once.
        call: seconds of the driver for asking one worker.
    """
    used = min(workers, _SLICES)
    spread = evaluation * math.ceil(_SLICES / used) / _SLICES + call * used
    parts = {"finetuning and agent": _EPISODES * episode, "evaluation": _EPISODES * spread, "start": start}
    return Point(sum(parts.values()), parts)


def one_large_search(inputs: dict[str, float], workers: int) -> Point:
    """Return the time of one search on ResNet50 with 50,000 images of 224 pixels."""
    machines = math.ceil(workers / _CORES)
    slices = math.ceil(_IMAGES / _SLICE)
    image, call = inputs["resnet50_image_seconds"], inputs["ray_call_seconds"]
    remote = workers > 1
    parts = {
        "evaluation": _EVALUATIONS * math.ceil(slices / workers) * _SLICE * image,
        "quantization": _WIDTHS * inputs["resnet50_quantization_seconds"],
        "gradients": _GRADIENT_IMAGES * _GRADIENT_PASSES * image,
        "calls": _EVALUATIONS * call * workers * remote,
        "images sent": _IMAGES * inputs["resnet50_image_bytes"] / _BANDWIDTH * remote,
        "weights sent": machines * _WIDTHS * inputs["resnet50_weight_bytes"] / _BANDWIDTH * remote,
        "start": inputs["ray_worker_start_seconds"] * remote,
    }
    return Point(sum(parts.values()), parts)


def simulated(runs: Sequence[Row], inputs: dict[str, float]) -> list[Row]:
    """Return a row for each case and number of workers."""
    timed = [(row, float(row["cpu_seconds"])) for row in runs if row["cpu_seconds"]]
    longest_first = sorted((seconds for _, seconds in timed), reverse=True)
    adrl = [seconds for row, seconds in timed if row["agent"] == "adrl" and not row["varied"]]
    many = random.Random(0).choices(adrl, k=_SEARCHES)
    plain, tuned = (haq_episode(runs, varied) for varied in ("", "finetune-images=2560"))
    start, call = inputs["ray_worker_start_seconds"], inputs["ray_call_seconds"]
    send = _RESULT_BYTES / _BANDWIDTH + inputs["ray_task_seconds"]
    rows = []
    for workers in _WORKERS:
        begin = 0.0 if workers == 1 else start
        points = {
            "sweep: the paper's suite": sweep(longest_first, workers, begin, send),
            f"sweep: {_SEARCHES:,} searches with ADRL": sweep(many, workers, begin, send),
            "search with finetuned rewards": finetuned(tuned - plain, plain, workers, begin, call * (workers > 1)),
            f"ResNet50, {_IMAGES:,} images": one_large_search(inputs, workers),
        }
        rows += [_row(case, workers, point) for case, point in points.items()]
    alone = {row["case"]: float(row["seconds"]) for row in rows if row["workers"] == "1"}
    for row in rows:
        row["speedup"] = f"{alone[row['case']] / float(row['seconds']):.2f}"
    return sorted(rows, key=lambda row: list(alone).index(row["case"]))


def haq_episode(runs: Sequence[Row], varied: str) -> float:
    """Return HAQ's processor seconds of an episode on ResNet20, linear at 0.1, its shortest run."""
    setting = {"network": "resnet20", "agent": "haq", "quantizer": "linear", "budget": "0.1", "protocol": "search"}
    found = [row for row in runs if row["varied"] == varied and all(row[k] == v for k, v in setting.items())]
    return min(float(row["cpu_seconds"]) / float(row["episodes"]) for row in found if row["cpu_seconds"])


def _row(case: str, workers: int, point: Point) -> Row:
    name, seconds = max(point.parts.items(), key=lambda part: part[1])
    return {
        "case": case,
        "workers": str(workers),
        "seconds": f"{point.seconds:.1f}",
        "largest_part": name,
        "largest_part_seconds": f"{seconds:.1f}",
    }


@dataclass
class Options:
    """Options of the simulation."""

    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the CSV files."""


def main(options: Options) -> None:
    inputs = {row["name"]: float(row["value"]) for row in read_rows(options.results / "ray_inputs.csv")}
    write_rows(options.results / "ray_scaling.csv", simulated(read_rows(options.results / "runs.csv"), inputs))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
