"""Quantize the package's networks with other tools and with adrl-gym, and write benchmarks/results/peers.csv.

    python -m benchmarks.peers.run --data-root FOLDER --environments FOLDER

Each tool runs in a virtual environment of its own, made from TOOL.txt; it sees the packages of this one, so PyTorch is
not installed again. Rows that are in the file are not measured again. A tool that fails leaves a row with its error.
All run on one thread.
"""

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from adrl_agents.runs import SearchResult, git_commit
from adrl_gym.datasets import load_cifar10, load_splits
from adrl_gym.models import load_network
from benchmarks.harness.csv_file import add_row, read_rows
from benchmarks.harness.suites import ENV_IDS
from benchmarks.peers.handed import percent_right

PEERS = Path(__file__).parent
_ROOT = PEERS.parents[1]
SETTINGS = ("defaults", "best effort")
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_KEY = ("tool", "network", "target_bits", "setting", "images")


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder of CIFAR-10."""
    environments: Path
    """Folder of the virtual environments; one that is there is used again."""
    tools: tuple[str, ...] = ("adrl_gym", "mct", "modelopt", "aimet")
    """Tools to run: adrl_gym, or the name of a module and a .txt file beside this one."""
    networks: tuple[str, ...] = ("resnet20",)
    """Networks of the package."""
    bits: tuple[float, ...] = (2, 3, 4)
    """Average bits of a weight."""
    settings: tuple[str, ...] = SETTINGS
    """Settings of the other tools; adrl-gym runs with its defaults."""
    images: int = 1000
    """Search images, which calibrate every tool."""
    output: Path = _ROOT / "benchmarks" / "results" / "peers.csv"
    """File of the rows."""
    minutes: float = 10
    """Most minutes of one run of a tool; adrl-gym goes on with the best configuration so far."""


def main(options: Options) -> None:
    """Measure the rows that are missing, each written when it is known."""
    for tool in options.tools:
        for network in options.networks:
            for bits in options.bits:
                for setting in ("defaults",) if tool == "adrl_gym" else options.settings:
                    key = {"tool": tool, "network": network, "target_bits": f"{bits:g}", "setting": setting}
                    key["images"] = str(options.images)
                    if not in_file(options.output, key):
                        add_row(options.output, measured(options, key))


def in_file(path: Path, key: dict[str, str]) -> bool:
    """Return whether a row of the file has this tool, network, bits, setting and number of images."""
    return any(all(row[name] == key[name] for name in _KEY) for row in read_rows(path))


def measured(options: Options, key: dict[str, str]) -> dict[str, Any]:
    """One row: the key, and what was measured or the error."""
    print(*key.values(), flush=True)
    run = run_own if key["tool"] == "adrl_gym" else run_peer
    return {**key, **run(options, key), "commit": git_commit()}


def run_peer(options: Options, key: dict[str, str]) -> dict[str, Any]:
    """Run a tool in its environment, and test what it returns."""
    splits = load_splits(key["network"], "cifar10", data_root=options.data_root, images=options.images)
    network = torch.fx.symbolic_trace(load_network(key["network"]).network.eval())
    images, labels = _test_images(options.data_root)
    task = {"network": network, "calibration": splits.search.images, "test": images, "labels": labels}
    python = environment(options.environments, key["tool"])
    with tempfile.TemporaryDirectory() as folder:
        torch.save(task, Path(folder) / "task.pt")
        about = {"bits": float(key["target_bits"]), "setting": key["setting"]}
        (Path(folder) / "task.json").write_text(json.dumps(about))
        outcome = call([str(python), "-m", f"benchmarks.peers.{key['tool']}", folder], Path(folder), options.minutes)
    return {**outcome, "float_test_accuracy": round(_float_accuracy(key["network"], options.data_root), 4)}


def _test_images(data_root: Path) -> tuple[Tensor, Tensor]:
    """Return CIFAR-10's test images ``(10000, 3, 32, 32)``, normalised, and their labels ``(10000,)``."""
    test = load_cifar10(data_root, "test")
    assert test.labels is not None, "CIFAR-10 has labels"
    return test.images, test.labels


@functools.cache
def _float_accuracy(network: str, data_root: Path) -> float:
    return percent_right(load_network(network).network, *_test_images(data_root))


def call(command: list[str], folder: Path, minutes: float) -> dict[str, Any]:
    """Run a command that writes ``outcome.json`` into a folder.

    Returns:
        What the file says, numbers rounded; of a command that fails or takes too long, the last line of its ``error``.
    """
    try:
        paths = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(_ROOT)}
        ended = subprocess.run(
            command, cwd=folder, env=paths, check=False, text=True, stderr=subprocess.PIPE, timeout=60 * minutes
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {minutes:g} minutes"}
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
        return {"error": (ended.stderr.strip().splitlines() or [f"status {ended.returncode}"])[-1][:200]}
    told = json.loads((folder / "outcome.json").read_text())
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in told.items()}


def environment(folder: Path, tool: str) -> Path:
    """Return the interpreter of a tool's virtual environment, which is made where it is missing.

    Packages of this environment are seen from it; those in ``TOOL.txt`` are installed on top.

    Raises:
        subprocess.CalledProcessError: pip could not install them.
    """
    home = folder / tool
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        venv.create(home, with_pip=True, clear=True)
        inside = sysconfig.get_path("purelib", vars={"base": str(home)})
        (Path(inside) / "reused.pth").write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", PEERS / f"{tool}.txt"], check=True)
        complete.touch()  # last: an installation that was interrupted or failed is taken up again
    return python


def run_own(options: Options, key: dict[str, str]) -> dict[str, Any]:
    """Run ADRL, then the refit, by the commands that anyone would type; their processor seconds include all they do."""
    output = options.environments / "runs" / f"{key['network']}-{key['target_bits']}"
    data = ["--data-root", str(options.data_root)]
    budget = f"{float(key['target_bits']) / 32:g}"
    search = ["adrl", "--env-id", ENV_IDS[key["network"]], "--data", "cifar10", *data, "--images", str(options.images)]
    search += ["--budget", budget, "--cache", "none", "--minutes", f"{options.minutes:g}", "--output", str(output)]
    shutil.rmtree(output, ignore_errors=True)  # of a call that was ended before its row was written
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in (search, ["refit", str(output), *data]):
        subprocess.run(
            [sys.executable, "-m", "adrl_gym", *command], cwd=_ROOT, check=True, env={**os.environ, **_ONE_THREAD}
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**own_row(output, key["network"]), "cpu_seconds": round(used, 1)}


def own_row(output: Path, network: str) -> dict[str, Any]:
    """Return the columns that the folder of a refitted run tells."""
    result = SearchResult.load(output / "result.json")
    refit = json.loads((output / "refit.json").read_text())
    layers = load_network(network).network
    weights = {name: module.weight.numel() for name, module in layers.named_modules() if name in result.bits}
    total = sum(weights[name] * bits for name, bits in result.bits.items())
    return {
        "version": result.versions["adrl_gym"],
        "method": f"adrl of {result.evaluations:.0f} evaluations, then refit (kept: {refit['weights']})",
        "scope": "weights",
        "average_bits": round(total / sum(weights.values()), 4),
        "seconds": round(result.preparation_seconds + result.seconds + refit["seconds"], 1),
        "test_accuracy": round(refit["test_accuracy"][refit["weights"]], 4),
        "float_test_accuracy": round(refit["test_accuracy"]["float"], 4),
        "torch": result.versions["torch"],
        "bits": " ".join(map(str, result.bits.values())),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
