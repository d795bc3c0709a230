"""The script that makes all results: its commands are understood, and it names every file."""

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("benchmark_scripts")
REPRODUCE = ROOT / "benchmarks" / "reproduce.sh"


def test_every_results_file_is_made_by_a_command_of_reproduce() -> None:
    text = REPRODUCE.read_text()
    results = ROOT / "benchmarks" / "results"
    files = [path.relative_to(results).as_posix() for path in results.rglob("*") if path.suffix in (".csv", ".json")]
    assert len(files) > 8
    # Said behind the command that makes it, or below.
    behind = r"-m benchmarks[.\w]+(?:[^#\n]|\\\n)*#[^#\n]*(?:\n\s*(?:done)?\s*#[^#\n]*)?"
    assert [name for name in files if not re.search(rf"{behind}\b{name}", text)] == []
    modules = {name.replace(".", "/") + ".py" for name in re.findall(r"-m (benchmarks[.\w]+)", text)}
    assert len(modules) > 8
    assert all((ROOT / path).exists() for path in modules | set(re.findall(r"agents/\w+\.py", text)))


def test_reproduce_asks_for_its_data(tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", REPRODUCE], check=False).returncode == 0
    for arguments, said in ((["--quick", str(tmp_path)], "no cifar-10-batches-py in"), (["--help"], "--quick [DIR]")):
        done = subprocess.run(["bash", REPRODUCE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["", "--quick", "--checkpoints"])
def test_the_commands_of_reproduce_are_understood(tmp_path: Path, mode: str) -> None:
    """A copy that runs a stand-in for Python: what it is asked, the real scripts accept."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    shutil.copy(REPRODUCE, tmp_path / "benchmarks")
    for name in ("python3", "git"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {tmp_path}/log\n')
        (tmp_path / "bin" / name).chmod(0o755)
    command = ["bash", "benchmarks/reproduce.sh", *([mode] if mode else []), str(tmp_path / "data")]
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "IMAGENET": str(tmp_path / "data")}
    twice = []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        twice.append((tmp_path / "log").read_text().splitlines())
    first, again = twice[0], twice[1][len(twice[0]) :]
    assert set(again) < set(first) or mode == "--checkpoints"  # what had ended is not done again
    for line in first:
        name, script, *arguments = line.split()
        if name == "git":
            continue
        tyro = importlib.import_module("tyro")
        if script == "-m":
            script, *arguments = arguments
            options = importlib.import_module(script).Options
        else:
            options = importlib.import_module("adrl_agents.options").ADRLOptions
        tyro.cli(options, args=arguments)
        if mode == "--quick":
            assert "runs/quick" in line
