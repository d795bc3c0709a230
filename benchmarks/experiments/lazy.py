"""Time refit and export of an AlexNet run beside an earlier commit, which quantizes every layer at every bit-width.

    git worktree add runs/before f9102ae
    python -m benchmarks.experiments.lazy --before runs/before

AlexNet has random weights and random images here: the work is the same, and no accuracy is told. The earlier commit
makes the run (uniform bits), and then both commits refit and export it, in turns.
"""

import csv
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from adrl_agents.runs import git_commit

_RESULTS = Path(__file__).parents[1] / "results"
_CLASSES = 10
_FACTORY = f"""import torch
from torchvision.models import alexnet


def make():
    torch.manual_seed(0)
    network = alexnet(num_classes={_CLASSES})
    network.pretrained_cfg = {{"input_size": (3, 224, 224), "mean": (0.5,) * 3, "std": (0.25,) * 3}}
    return network
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the timing."""

    before: Path
    """Checkout of the earlier commit."""
    images: int = 32
    """Search images."""
    repeats: int = 3
    """Turns of each command; the median counts."""
    work: Path = Path("runs/lazy")
    """Folder for the network, its images and the run."""
    results: Path = _RESULTS
    """Folder of lazy.csv."""


def _make_images(folder: Path, images: int) -> None:
    generator = np.random.default_rng(0)
    for index in range(2 * images):  # half of them are the test images
        path = folder / f"class{index % _CLASSES}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(path)


def _seconds(checkout: Path, script: str, arguments: list[str]) -> float:
    """Run ``agents/SCRIPT.py`` of a checkout; return the seconds that it takes."""
    path = os.pathsep.join([str(checkout), str(checkout / "agents")])
    start = time.perf_counter()
    command = [sys.executable, str(checkout / "agents" / f"{script}.py"), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    return time.perf_counter() - start


def main(options: Options) -> None:
    """Write lazy.csv."""
    work, now = options.work.resolve(), Path(__file__).parents[2]
    before = options.before.resolve()
    work.mkdir(parents=True, exist_ok=True)
    (work / "network.py").write_text(_FACTORY)
    _make_images(work / "images", options.images)
    data, run = ["--data-root", str(work / "images")], work / "run"
    if not (run / "result.json").exists():
        network = ["--network", f"{work / 'network.py'}:make", "--images", str(options.images), "--budget", "0.125"]
        _seconds(before, "search", ["--method", "uniform", *network, *data, "--memo", "none", "--output", str(run)])
    commands = {
        "refit": ["refit", str(run), *data],
        "export": ["export", str(run), "--format", "packed", "--recipe", "direct", *data],
    }
    rows = []
    for name, (script, *arguments) in commands.items():
        turns = [[_seconds(checkout, script, arguments) for checkout in (before, now)] for _ in range(options.repeats)]
        earlier, later = (statistics.median(times) for times in zip(*turns, strict=True))
        rows.append(
            {
                "command": name,
                "network": "alexnet",
                "quantizer": "gptq",
                "images": options.images,
                "repeats": options.repeats,
                "seconds_before": round(earlier, 2),
                "seconds": round(later, 2),
                "ratio": round(statistics.median(b / a for a, b in turns), 3),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "commit": git_commit(),
            }
        )
        print(rows[-1], flush=True)
    with (options.results / "lazy.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
