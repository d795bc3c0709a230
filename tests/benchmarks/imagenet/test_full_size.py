"""Searches at full size: the command runs, and its row tells what it took and no accuracy."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.csv_file import read_rows
from benchmarks.searches import full_size
from pictures import make_pictures

_NETWORK = """
from torch import nn


def random_small():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    network.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return network
"""


def test_a_search_leaves_one_row_without_accuracies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "networks.py").write_text(_NETWORK)
    monkeypatch.setattr(full_size, "_NETWORKS", str(tmp_path / "networks.py"))
    make_pictures(tmp_path / "pictures", classes=3, each=10)
    options = full_size.Options(
        data_root=tmp_path / "pictures", networks=("small",), images=10, runs=tmp_path / "runs", results=tmp_path
    )
    full_size.main(options)
    (row,) = read_rows(tmp_path / "full_size.csv")
    assert (row["network"], row["layers"], row["images"]) == ("small", "2", "10")
    assert 0 < float(row["first_seconds"]) < float(row["seconds"])
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB, which the command's begins with
    assert 0.05 < float(row["peak_gib"]) < max(3, own + 0.1)  # PyTorch takes more than the one and less than the other
    assert not [name for name in row if "accuracy" in name]
    monkeypatch.setattr(full_size, "command_cost", None)
    full_size.main(options)  # the row is there


def test_a_command_that_fails_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(subprocess.CalledProcessError):
        full_size.main(full_size.Options(data_root=tmp_path, networks=("small",), runs=tmp_path, results=tmp_path))
    assert not (tmp_path / "full_size.csv").exists()
