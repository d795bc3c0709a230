"""Other tools beside adrl-gym: what is handed over, what comes back, what a failure leaves."""

import json
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.harness.csv_file import add_row
from benchmarks.peers.handed import Handed, PeerOutcome, count_weights, load, percent_right, run_tool
from benchmarks.peers.run import call, environment, in_file
from benchmarks.reporting.peer_tables import peers_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = torch.fx.symbolic_trace(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)))
    images = torch.rand(6, 1, 2, 2)
    labels = network(images).argmax(1)
    task = {"network": network, "calibration": images, "test": images, "labels": labels}
    torch.save(task, tmp_path / "task.pt")
    (tmp_path / "task.json").write_text(json.dumps({"bits": 2, "setting": "defaults"}))
    return tmp_path


def test_a_tool_answers_with_its_bits_and_accuracy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quantize(task: Handed) -> PeerOutcome:
        counted = count_weights(task.network)
        return PeerOutcome(task.network, dict(zip(counted, (2.0, 32.0), strict=True)), counted, "none")

    monkeypatch.setattr(sys, "argv", ["tool", str(folder)])
    run_tool("torch", quantize)
    told = json.loads((folder / "outcome.json").read_text())
    assert told["test_accuracy"] == 100
    assert told["average_bits"] == (12 * 2 + 6 * 32) / 18  # what was left float counts
    assert told["version"] == version("torch")


def test_accuracy_is_of_all_images(folder: Path) -> None:
    task = load(folder)
    labels = task.labels.clone()
    labels[0] = 1 - labels[0]
    assert percent_right(task.network, task.test, labels) == pytest.approx(500 / 6)


def test_a_tool_that_fails_leaves_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "raise RuntimeError('needs CUDA')"]
    assert call(command, tmp_path, minutes=1) == {"error": "RuntimeError: needs CUDA"}


def test_a_tool_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    assert call(command, tmp_path, minutes=0.001) == {"error": "not done after 0.001 minutes"}


def test_an_installation_that_failed_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[bool] = []
    half = tmp_path / "mct" / "half"  # of a package

    create = venv.create

    def make(home: Path, *, with_pip: bool, clear: bool = False) -> None:
        assert with_pip  # which takes seconds, and there is nothing to install here
        create(home, clear=clear)

    def install(*_: object, **__: object) -> None:
        installed.append(True)
        if len(installed) == 1:
            half.touch()
            raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(venv, "create", make)
    monkeypatch.setattr(subprocess, "run", install)
    with pytest.raises(subprocess.CalledProcessError):
        environment(tmp_path, "mct")
    assert environment(tmp_path, "mct") == environment(tmp_path, "mct") == tmp_path / "mct" / "bin" / "python"
    assert not half.exists()
    assert len(installed) == 2, "once more after the failure, and then no more"


def test_rows_in_the_file_are_found_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "peers.csv"
    key = {"tool": "mct", "network": "resnet20", "target_bits": "2", "setting": "defaults", "images": "1000"}
    assert not in_file(path, key)
    assert peers_table(tmp_path) == "Not measured yet."
    numbers = {
        "average_bits": 2,
        "test_accuracy": 51.23,
        "float_test_accuracy": 91.28,
        "cpu_seconds": 9.6,
        "seconds": 12.4,
    }
    add_row(path, {**key, "version": "2.6.1", "scope": "weights", "method": "ptq", **numbers})
    add_row(path, {**key, "target_bits": "3", "error": "needs CUDA"})
    assert in_file(path, key)
    assert not in_file(path, {**key, "target_bits": "4"})
    table = peers_table(tmp_path)
    assert "| 2 | model-compression-toolkit 2.6.1 | defaults | ptq | 2.00 | 51.23 | 91.28 | 10 |" in table
    assert "needs CUDA" in table
