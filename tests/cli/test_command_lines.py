"""The command lines: what a user sees, the files of a run, and one clear message for each mistake."""

import csv
import dataclasses
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adrl_agents import ADRL, HAQ
from adrl_agents.cli import run as run_command
from adrl_agents.options import Options, SB3Options
from adrl_agents.runs import plots
from adrl_agents.runs.result import SearchResult
from adrl_agents.search import logger as recorder

ROOT = Path(__file__).parents[2]
FILES = {"result.json", "episodes.csv", "agent.zip", "bits.png", "curve.png"}
pytestmark = pytest.mark.usefixtures("scripts")


def train(script: str, options: Options) -> SearchResult:
    """What the script does with these options."""
    return importlib.import_module(f"adrl_agents.cli.{script}").main(options)


def arguments(output: Path, **changes: object) -> list[str]:
    """A command line for a run of a second."""
    tiny = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "episodes": 3}
    options = {**tiny, "output": output, **changes}
    flags = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return [str(part) for flag, value in flags.items() for part in ([flag] if value is True else [flag, value])]


def run(script: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", f"agents/{script}.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def run_here(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    """As ``run`` of train_adrl, but without the seconds that a new interpreter takes."""
    return run_command("adrl", arguments)


def test_a_run_leaves_its_folder_and_prints_the_bits(tmp_path: Path) -> None:
    output = tmp_path / "run"
    done = run("train_adrl", arguments(output, episodes=22, k=2, seed=5, profile_images=20))
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in output.iterdir()} == FILES

    result = SearchResult.load(output / "result.json")
    assert (result.agent, result.seed, result.status, result.episodes) == ("adrl", 5, "finished", 22)
    assert result.options["k"] == 2
    assert result.data == "own"
    assert result.size_ratio <= 0.1
    assert set(result.versions) >= {"python", "torch", "numpy", "gymnasium", "stable_baselines3", "adrl_gym"}
    assert result.memo_misses > 0

    with (output / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["episode", "reward", "accuracy", "best_accuracy", "evaluations", "seconds"]
    assert [int(row["episode"]) for row in rows] == list(range(1, 23))
    accuracies = [float(row["accuracy"]) for row in rows]
    ranks = [(float(row["agreement"]), -float(row["kl"])) for row in rows]
    best_so_far = [max(range(i + 1), key=lambda j: ranks[j]) for i in range(22)]
    assert [float(row["best_accuracy"]) for row in rows] == [accuracies[i] for i in best_so_far]
    assert [str(bits) for bits in result.bits.values()] == rows[best_so_far[-1]]["bits"].split()
    assert result.search_accuracy == accuracies[best_so_far[-1]]
    assert result.seconds == float(rows[-1]["seconds"])
    assert len(set(accuracies)) > 3, "the search tried different configurations"
    assert float(rows[-1]["reward"]) == pytest.approx(0.1 * (accuracies[-1] - result.float_search_accuracy), abs=1e-5)

    for layer, bits in result.bits.items():
        assert re.search(rf" {bits} +=+ +{layer} ", done.stdout)
    assert "4 layers, 996 weights" in done.stdout
    assert "own data: 40 search images" in done.stdout

    for name in ("bits.png", "curve.png"):
        with Image.open(output / name) as picture:
            assert picture.width >= 1000
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
    assert ADRL.load(output / "agent.zip").k == 2


@pytest.mark.parametrize("agent", ["haq", "ddpg"])
def test_the_baselines_share_the_options(tmp_path: Path, agent: str) -> None:
    result = train(
        {"haq": "haq", "ddpg": "sb3"}[agent],
        {"haq": Options, "ddpg": SB3Options}[agent](
            env_id="tiny_env:Tiny-v0", budget=0.08, images=40, episodes=22, output=tmp_path / "run"
        ),
    )
    assert result.agent == agent
    assert result == SearchResult.load(tmp_path / "run" / "result.json")
    assert result.size_ratio <= 0.08


def test_the_same_seed_gives_the_same_search(tmp_path: Path) -> None:
    def bits(seed: int, folder: str) -> list[str]:
        options = Options(env_id="tiny_env:Tiny-v0", images=40, episodes=22, seed=seed, output=tmp_path / folder)
        train("haq", options)
        with (tmp_path / folder / "episodes.csv").open(newline="") as file:
            return [row["bits"] for row in csv.DictReader(file)]

    assert bits(1, "a") == bits(1, "b") != bits(2, "c")


def test_early_termination_ends_a_settled_search(tmp_path: Path) -> None:
    options = Options(
        env_id="tiny_env:Tiny-v0", images=40, episodes=50, window=5, tolerance=1000.0, output=tmp_path / "run"
    )
    result = train("haq", options)
    assert (result.episodes, result.status) == (5, "finished")
    agent = HAQ.load(tmp_path / "run" / "agent.zip")
    assert agent._episode_num == 5, "the agent is saved as it was after the last episode"
    assert train("haq", dataclasses.replace(options, episodes=60, resume=True)).episodes == 6


def test_a_result_on_the_shipped_network_needs_no_download(tmp_path: Path) -> None:
    options = Options(
        env_id="adrl_gym/CifarNet-Cifar10-v0",
        quantizer="linear",
        images=20,
        episodes=2,
        output=tmp_path / "run",
    )
    result = train("haq", options)
    assert result.data == "data-free"
    assert list(result.bits) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert "test_accuracy" not in json.loads((tmp_path / "run" / "result.json").read_text())


def test_ctrl_c_keeps_the_result_so_far(tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "agents/train_adrl.py", *arguments(output, episodes=5000)]
    environment = {**os.environ, "TINY_SECONDS": "0.01"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, the shell has them ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            wait_for(output / "curve.png")
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error.endswith(f"the best so far is in {output}; go on with --resume\ninterrupted\n")
    result = SearchResult.load(output / "result.json")
    assert result.status == "interrupted"
    assert 1 <= result.episodes < 5000
    assert {path.name for path in output.iterdir()} == FILES


class PressesCtrlC:
    """Where Python cannot raise what Ctrl-C raises: in a destructor."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_that_python_loses_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost: list[str] = []

    def draw_and_press(*drawn: Any) -> Any:
        if not lost:
            PressesCtrlC()
        return plots.draw_curve(*drawn)

    monkeypatch.setattr(recorder, "draw_curve", draw_and_press)
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: lost.append(hook.exc_type.__name__))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_here(monkeypatch, arguments(tmp_path / "run", episodes=50)) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert lost == ["KeyboardInterrupt"]
    assert capsys.readouterr().err.endswith("go on with --resume\ninterrupted\n")
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert (result.status, result.episodes) == ("interrupted", 2)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)
