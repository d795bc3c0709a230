"""Ctrl-C: the result so far is kept, and no interrupt is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import plots
from adrl_agents.runs.result import SearchResult
from adrl_agents.search import logger as recorder
from commands import ROOT, arguments

pytestmark = pytest.mark.usefixtures("scripts")

FILES = {"result.json", "episodes.csv", "agent.zip", "bits.png", "curve.png", "sensitivity.png"}


def test_ctrl_c_keeps_the_result_so_far(tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "agents/train_adrl.py", *arguments(output, episodes=5000, evaluations=10**6)]
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
    """A destructor, in which Python cannot raise what Ctrl-C raises."""

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
        assert run_command("adrl", arguments(tmp_path / "run", episodes=50, evaluations=10**6)) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert lost == ["KeyboardInterrupt"]
    assert capsys.readouterr().err.endswith("go on with --resume\ninterrupted\n")
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert (result.status, result.episodes) == ("interrupted", 2)


def test_a_ctrl_c_that_a_library_turns_into_another_error_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[str] = []

    def draw_and_fail(*what: Any) -> Any:
        drawn.append("curve")
        try:
            if len(drawn) == 2:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
        except KeyboardInterrupt:
            raise RuntimeError("a callback failed") from None
        return plots.draw_curve(*what)

    monkeypatch.setattr(recorder, "draw_curve", draw_and_fail)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_command("adrl", arguments(tmp_path / "run", episodes=50, evaluations=10**6)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.endswith("go on with --resume\ninterrupted\n")
    assert SearchResult.load(tmp_path / "run" / "result.json").status == "interrupted"


def wait_for(path: Path) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)
