"""Speed of two ONNX files: runs that alternate, and medians."""

import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from adrl_gym import AdrlGymError
from adrl_gym.export import SpeedOptions, compare_speed


def test_runs_alternate_and_the_medians_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    clock = [0.0]

    class Session:
        def __init__(self, file: str, settings: Any, providers: list[str]) -> None:
            self.file = file
            assert settings.intra_op_num_threads == 1

        def run(self, outputs: None, feed: dict[str, Any]) -> None:
            assert feed["images"].shape == (4, 3, 2, 2)
            late = 1.0 if len(ran) in (0, 1, 5) else 0.0  # while it warms up, and once after that
            clock[0] += late + {"float": 0.002, "file": 0.004}[self.file]
            ran.append(self.file)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    options = SpeedOptions(runs=3, warmup=1, threads=1)
    speed = compare_speed("float", Path("file"), torch.zeros(4, 3, 2, 2), options)
    assert ran == ["file", "float", "float", "file", "file", "float", "float", "file"]
    assert speed.float_ms == pytest.approx(2)
    assert speed.quantized_ms == pytest.approx(4)
    assert speed.factor == pytest.approx(0.5)
    assert str(speed) == (
        "float network 2.00 ms, file 4.00 ms (onnxruntime, batch 4, 1 threads): 0.50 times as fast as the float one"
    )


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AdrlGymError, match=r'ONNX needs onnxruntime: pip install "adrl-gym\[export\]"'):
        compare_speed("float", "file", torch.zeros(1, 3, 2, 2))
