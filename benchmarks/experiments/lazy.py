"""Time AlexNet's search, refit, export and quantization beside an earlier commit, which has none of their shortcuts.

    git worktree add runs/before f9102ae
    python -m benchmarks.experiments.lazy --before runs/before

AlexNet has random weights and random images here: the work is the same, and no accuracy is told. The earlier commit
makes the run (uniform bits), and then both commits refit and export it, in turns. The search is ADRL's with five
episodes. Quantization is that of all layers at 1 to 8 bits, timed without imports and loading. On a machine that others
load too, CPU seconds say more than seconds, best with OMP_NUM_THREADS=1.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
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
_Command = Literal["quantize", "search", "refit", "export"]
_FACTORY = f"""import torch
from torchvision.models import alexnet


def make():
    torch.manual_seed(0)
    network = alexnet(num_classes={_CLASSES})
    network.pretrained_cfg = {{"input_size": (3, 224, 224), "mean": (0.5,) * 3, "std": (0.25,) * 3}}
    return network
"""

_QUANTIZE = """import sys
import time
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
start = time.perf_counter(), time.process_time()
quantize_layers(network, layers, images, quantizer="gptq", bits=list(range(1, 9)), bias_correction=True)
print(time.perf_counter() - start[0], time.process_time() - start[1])
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
    """Search images of the run that is refitted and exported."""
    searched_images: int = 250
    """Images of the search, and of the quantization at 1 to 8 bits."""
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
    ran = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    if isinstance(program, Path):
        return Cost(*map(float, ran.stdout.split()))  # it has measured itself
    seconds, total = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, total.ru_utime + total.ru_stime - used.ru_utime - used.ru_stime)


def _turn(before: Path, now: Path, program: Path | str, arguments: list[str], work: Path) -> tuple[Cost, Cost]:
    """Return the costs of a program in both commits, of which neither keeps results for the other."""
    if program != "train_adrl":
        return _cost(before, program, arguments), _cost(now, program, arguments)
    costs = []
    for checkout, keep in ((before, "--memo"), (now, "--cache")):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            costs.append(_cost(checkout, program, [*arguments, keep, "none", "--output", str(Path(folder) / "run")]))
    return costs[0], costs[1]


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
    _make_images(work / "searched", options.searched_images)
    data, run = ["--data-root", str(work / "images")], work / "run"
    network = ["--network", f"{work / 'network.py'}:make", "--budget", "0.125"]
    (work / "quantize.py").write_text(_QUANTIZE)
    if not (run / "result.json").exists():
        uniform = ["--method", "uniform", "--images", str(options.images), "--memo", "none", "--output", str(run)]
        _cost(before, "search", [*uniform, *network, *data])
    searched = ["--data-root", str(work / "searched"), "--images", str(options.searched_images), "--episodes", "5"]
    programs: dict[_Command, tuple[Path | str, list[str]]] = {
        "quantize": (work / "quantize.py", [str(options.searched_images)]),
        "search": ("train_adrl", [*network, *searched]),
        "refit": ("refit", [str(run), *data]),
        "export": ("export", [str(run), "--format", "packed", "--recipe", "direct", *data]),
    }
    file = options.results / "lazy.csv"
    rows = {row["command"]: dict[str, object](row) for row in read_rows(file)}
    for name in options.commands:
        turns = [_turn(before, now, *programs[name], work) for _ in range(options.repeats)]
        rows[name] = _row(name, options.searched_images if name in ("quantize", "search") else options.images, turns)
        print(rows[name], flush=True)
        write_rows(file, rows.values())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
