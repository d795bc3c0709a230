"""Progress of long work in a log and on a terminal."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adrl_gym import progress
from commands import ROOT


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.02)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("hasty")
def test_a_log_gets_lines_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.tracked(range(4), "quantizing", 4, "layers"):
        time.sleep(0.05)
    shown = lines(capsys)
    assert all(re.fullmatch(r"quantizing: \d of 4 layers, 0:00 gone(, about 0:00 left)?", line) for line in shown)
    assert any("left" in line for line in shown)


@pytest.mark.usefixtures("hasty")
def test_one_long_step_does_not_look_like_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("testing"):
        time.sleep(0.1)
    assert len(lines(capsys)) >= 2


@pytest.mark.usefixtures("hasty")
def test_nothing_is_said_after_the_end_not_even_of_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="broken"), progress.bar("loading"):
        raise RuntimeError("broken")
    for _ in progress.tracked(range(3), "profiling", 3):
        break
    time.sleep(0.1)
    lines(capsys)
    time.sleep(0.1)
    assert lines(capsys) == []


def test_short_work_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress.tracked(range(3), "profiling", 3))
    assert lines(capsys) == []


def test_a_search_in_a_log_shows_every_phase(tmp_path: Path) -> None:
    """The command in a process of its own, with less than half a minute between lines."""
    program = (
        "import sys, runpy; import adrl_gym.progress as p; p.LOG_SECONDS = 0.05; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    options = ["--env-id", "adrl_gym/CifarNet-Cifar10-v0", "--data", "data-free", "--images", "64", "--episodes", "3"]
    done = subprocess.run(
        [sys.executable, "-c", program, "agents/train_adrl.py", *options, "--output", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for phase in ("loading", "quantizing", "sensitivity from gradients", "search"):
        assert re.search(f"^{phase}: ", done.stderr, re.MULTILINE), done.stderr
