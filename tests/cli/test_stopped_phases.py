"""A search that is stopped in any of its phases leaves a whole folder, or none, and can be begun again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adrl_agents.runs.result import SearchResult
from commands import ROOT

# Lines of progress come at once here, so that the phase is known.
PROGRAM = (
    "import sys, runpy; import adrl_gym.progress as p; p.LOG_SECONDS = 0.02; "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
OPTIONS = ["--env-id", "adrl_gym/CifarNet-Cifar10-v0", "--data", "data-free", "--images", "64", "--budget", "0.1"]
NAMES = {"result.json", "episodes.csv", "agent.zip", "bits.png", "curve.png", "sensitivity.png"}


@pytest.mark.parametrize("phase", ["quantizing", "sensitivity from gradients", "search"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_search_can_be_stopped_in_any_phase(tmp_path: Path, phase: str, number: signal.Signals) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, "agents/train_adrl.py", *OPTIONS, "--output", str(output)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                begun = line.startswith(f"{phase}: ") and not line.startswith("search: 0 of")
                if begun:
                    break
            else:
                pytest.fail(f"no line of {phase}: {said}")
            process.send_signal(number)
            process.stderr.read()
        finally:
            process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    left = {path.name for path in output.iterdir()} if output.exists() else set()
    assert left <= NAMES
    if phase == "search":
        assert {"result.json", "episodes.csv"} <= left
    if left:
        result = SearchResult.load(output / "result.json")
        assert 1 <= result.episodes < 40
        assert (result.status == "interrupted") == (number == signal.SIGINT)
    if number == signal.SIGKILL and left:  # Ctrl-C leaves no less; an empty folder is a new one
        again = [sys.executable, "agents/train_adrl.py", *OPTIONS, "--output", str(output), "--resume"]
        done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert SearchResult.load(output / "result.json").status == "finished"
