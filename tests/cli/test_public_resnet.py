"""A public CIFAR-10 checkpoint from its file to bits, refitted weights and ONNX."""

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from adrl_agents.cli import run as run_command
from adrl_agents.runs.result import SearchResult
from adrl_gym.datasets import ImageSet, cifar
from adrl_gym.export.packed import load_packed
from adrl_gym.models.named import load_network
from commands import OWN

pytestmark = pytest.mark.usefixtures("no_pictures")

FILE = OWN / "public_resnet.py"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """ResNet20's weights as such repositories have them: DataParallel's prefix, nested, no counters, ``.th``."""
    state: dict[str, Tensor] = {}
    for name, tensor in load_network("resnet20").network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            state[f"module.{name.replace('fc.', 'linear.')}"] = nn.Parameter(tensor)
    torch.save({"state_dict": state, "best_prec1": 89.9, "epoch": 200}, tmp_path / "x.th")
    return tmp_path / "x.th"


@pytest.fixture
def few_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 10,000 are measured five times, which would take a minute."""
    load = cifar._load

    def first(*arguments: Any) -> ImageSet:
        images = load(*arguments)
        assert isinstance(images, ImageSet)
        return images.first(1000)

    monkeypatch.setattr(cifar, "_load", first)


@pytest.mark.usefixtures("few_test_images")
def test_it_goes_from_file_to_bits_refit_and_onnx(
    tmp_path: Path,
    checkpoint: Path,
    cifar_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ADRL_GYM_DATA", str(cifar_root))
    run = tmp_path / "run"
    own = ["--network", f"{FILE}:resnet20", "--weights", str(checkpoint), "--data", "cifar10"]
    quick = ["--episodes", "2", "--images", "100", "--profile-images", "20", "--quantizer", "linear"]
    assert run_command("adrl", [*own, *quick, "--output", str(run)]) == 0
    said = capsys.readouterr().out
    assert "CIFAR-10: 100 of the training images to search on, 1,000 test images, normalised by CIFAR-10's own" in said
    result = SearchResult.load(run / "result.json")
    assert result.data == "cifar10"
    assert result.bits.keys() >= {"conv1", "layer1.0.conv1", "layer3.2.conv2", "linear"}
    assert result.size_ratio <= 0.0625
    assert result.float_test_accuracy is not None
    assert result.float_test_accuracy > 89.5, "the weights are in place, and the images normalised as in training"
    assert run_command("refit", [str(run), "--images", "64"]) == 0
    report = json.loads((run / "refit.json").read_text())
    assert report["test_accuracy"]["refit"] > report["test_accuracy"]["direct"]
    assert run_command("export", [str(run), "--format", "onnx", "--recipe", "refit"]) == 0
    network = load_packed(run / "refit.safetensors", load_network(f"{FILE}:resnet20").network)
    session = onnxruntime.InferenceSession(run / "network.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(5, 3, 32, 32)
    (logits,) = session.run(None, {"images": x.numpy()})  # (5, 10)
    torch.testing.assert_close(torch.from_numpy(logits), network(x).detach(), rtol=1e-3, atol=1e-3)
