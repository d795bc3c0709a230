"""Time refit, export and quantization of AlexNet beside an earlier commit, which has none of their shortcuts.

    git worktree add runs/before f9102ae
    python -m benchmarks.experiments.lazy --before runs/before

AlexNet has random weights and random images here: the work is the same, and no accuracy is told. The earlier commit
makes the run (uniform bits), and then both commits refit and export it, in turns. Quantization is that of all layers
at 1 to 8 bits. On a machine that others load too, CPU seconds say more than seconds, best with OMP_NUM_THREADS=1.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import tyro
from PIL import Image

from adrl_agents.runs import git_commit
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_CLASSES = 10
_Command = Literal["quantize", "refit", "export"]
_FACTORY = f"""import torch
from torchvision.models import alexnet


def make():
    torch.manual_seed(0)
    network = alexnet(num_classes={_CLASSES})
    network.pretrained_cfg = {{"input_size": (3, 224, 224), "mean": (0.5,) * 3, "std": (0.25,) * 3}}
    return network
"""

_QUANTIZE = """import sys
import torch
from network import make
from adrl_gym.layers import find_layers
try:
    from adrl_gym.quantization import quantize_layers
except ImportError:  # the earlier commit
    from adrl_gym.evaluation.prepare import prepare_layers as quantize_layers
network = make().eval()
images = torch.randn(int(sys.argv[1]), 3, 224, 224, generator=torch.Generator().manual_seed(1))
layers = find_layers(network, (3, 224, 224))
quantize_layers(network, layers, images, quantizer="gptq", bits=list(range(1, 9)), bias_correction=True)
"""


class Cost(NamedTuple):
    """Cost of a command: seconds, and CPU seconds of all its threads."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the timing."""

    before: Path
    """Checkout of the earlier commit."""
    images: int = 32
    """Search images."""
    quantized_images: int = 250
    """Images of the quantization at 1 to 8 bits."""
    commands: tuple[_Command, ...] = get_args(_Command)
    """Commands to time; rows of other commands stay."""
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


def _cost(checkout: Path, program: Path | str, arguments: list[str]) -> Cost:
    """Run a program, or ``agents/PROGRAM.py`` of a checkout, with the packages of that checkout."""
    script = program if isinstance(program, Path) else checkout / "agents" / f"{program}.py"
    path = os.pathsep.join([str(checkout), str(checkout / "agents")])
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, str(script), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    seconds, total = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, total.ru_utime + total.ru_stime - used.ru_utime - used.ru_stime)


def _row(name: str, images: int, turns: list[tuple[Cost, Cost]]) -> dict[str, object]:
    """Return a row of lazy.csv, from the costs of both commits in each turn."""
    before, after = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in zip(*turns, strict=True))
    return {
        "command": name,
        "network": "alexnet",
        "quantizer": "gptq",
        "images": images,
        "repeats": len(turns),
        "seconds_before": round(before.seconds, 2),
        "seconds": round(after.seconds, 2),
        "ratio": round(statistics.median(b.seconds / a.seconds for a, b in turns), 3),
        "cpu_seconds_before": round(before.cpu_seconds, 2),
        "cpu_seconds": round(after.cpu_seconds, 2),
        "cpu_ratio": round(statistics.median(b.cpu_seconds / a.cpu_seconds for a, b in turns), 3),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": git_commit(),
    }


def main(options: Options) -> None:
    """Write lazy.csv."""
    work, now = options.work.resolve(), Path(__file__).parents[2]
    before = options.before.resolve()
    work.mkdir(parents=True, exist_ok=True)
    (work / "network.py").write_text(_FACTORY)
    _make_images(work / "images", options.images)
    data, run = ["--data-root", str(work / "images")], work / "run"
    (work / "quantize.py").write_text(_QUANTIZE)
    if not (run / "result.json").exists():
        network = ["--network", f"{work / 'network.py'}:make", "--images", str(options.images), "--budget", "0.125"]
        _cost(before, "search", ["--method", "uniform", *network, *data, "--memo", "none", "--output", str(run)])
    programs: dict[_Command, tuple[Path | str, list[str]]] = {
        "quantize": (work / "quantize.py", [str(options.quantized_images)]),
        "refit": ("refit", [str(run), *data]),
        "export": ("export", [str(run), "--format", "packed", "--recipe", "direct", *data]),
    }
    file = options.results / "lazy.csv"
    rows = {row["command"]: dict[str, object](row) for row in read_rows(file)}
    for name in options.commands:
        turns = [(_cost(before, *programs[name]), _cost(now, *programs[name])) for _ in range(options.repeats)]
        rows[name] = _row(name, options.quantized_images if name == "quantize" else options.images, turns)
        print(rows[name], flush=True)
        write_rows(file, rows.values())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
