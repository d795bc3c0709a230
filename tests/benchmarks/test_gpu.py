"""Rows of the CUDA benchmark, on the CPU and small, and its end where there is no CUDA."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("benchmark_scripts")
_TINY = """import torch
from torch import nn


def make():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10))
    network.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return network
"""


def test_without_cuda_one_line_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu: there is no CUDA device here: run this on a machine that has one\n"


def test_every_part_writes_rows_with_the_devices_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu: Any = importlib.import_module("benchmarks.gpu")
    monkeypatch.setattr(gpu, "COMPARED_NETWORKS", ("cifarnet",))
    monkeypatch.setattr(gpu, "SIZE", 16)
    monkeypatch.setattr(gpu, "FACTORY", _TINY)
    monkeypatch.setattr(gpu, "PARTS", (gpu.predictions, gpu.resnet50_search))
    csv_file = importlib.import_module("benchmarks.harness.csv_file")
    csv_file.write_rows(tmp_path / "gpu.csv", [{"part": "predictions", "device": "another", "network": "resnet20"}])
    gpu.main(gpu.Options(images=8, random_images=10, results=tmp_path), torch.device("cpu"), "a stub")
    rows = csv_file.read_rows(tmp_path / "gpu.csv")
    assert [(row["part"], row["device"], row["network"]) for row in rows] == [
        ("predictions", "another", "resnet20"),
        ("predictions", "a stub", "cifarnet"),
        ("predictions", "a stub", "cifarnet"),
        ("resnet50_search", "a stub", "resnet50"),
    ]
    assert {row["different"] for row in rows[1:3]} == {"0"}
    assert [row["bits"] for row in rows[1:3]] == ["float", "4"]
    assert float(rows[3]["evaluations"]) > 0
