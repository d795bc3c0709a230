"""Distilling images from one's own network: the file, the command line, and networks that cannot be distilled."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
import timm
import torch
from torch import nn

from adrl_agents.cli import run as run_command
from adrl_agents.runs.result import SearchResult
from adrl_gym import AdrlGymError
from adrl_gym.datasets import datafree, distillation
from adrl_gym.datasets.datafree import load_datafree
from adrl_gym.datasets.distillation import Distillation, clouds, distill, drawn_labels, observed, statistics_loss
from adrl_gym.models.named import LoadedNetwork, load_network, own_network
from commands import OWN, ROOT

FILE = OWN / "branches.py"
QUICK = Distillation(images=12, batch_size=8, steps=4)


@pytest.fixture
def loaded() -> LoadedNetwork:
    """A network whose batch norm has seen images: smooth ones, in which red is brightest."""
    network = load_network(f"{FILE}:make").network
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(200, 3, 4, 4, generator=generator) * torch.tensor([1.0, 0.6, 0.2])[:, None, None]
    images = nn.functional.interpolate(pixels, (16, 16), mode="bilinear")  # (200, 3, 16, 16), from 0 to 1
    network.train()
    with torch.no_grad():
        for _ in range(50):
            network((images - 0.5) / 0.25)
    return own_network(network)


def mismatch(network: nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad(), observed(network, {}) as seen:
        network(images)
    return float(statistics_loss(seen))


def test_distilled_images_have_the_statistics_of_the_training_images(tmp_path: Path, loaded: LoadedNetwork) -> None:
    distill(loaded, tmp_path / "first.npz", Distillation(images=32, batch_size=32, steps=1, learning_rate=1e-6))
    distill(loaded, tmp_path / "set.npz", Distillation(images=32, batch_size=32, steps=60))
    first, images = (load_datafree(tmp_path / name, loaded.checkpoint).images for name in ("first.npz", "set.npz"))
    assert images.shape == (32, 3, 16, 16)
    assert images.min() >= -2
    assert images.max() <= 2  # black and white, normalised
    assert mismatch(loaded.network, images) < 0.1 * mismatch(loaded.network, first)
    means = images.mean((0, 2, 3))
    assert means[0] > means[2]  # redder than blue, as the training images were


@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_labels_mix_two_classes(classes: int) -> None:
    labels = drawn_labels(2 * classes, classes, torch.Generator().manual_seed(0))  # (N, K)
    assert torch.allclose(labels.sum(1), torch.ones(2 * classes))
    assert torch.equal(labels.argmax(1), torch.arange(2 * classes) % classes)
    assert ((labels > 0).sum(1) == 2).all()
    assert labels.amax(1).min() >= 0.5


@pytest.mark.parametrize("shape", [(1, 12, 20), (3, 33, 16)])
def test_first_images_are_smooth_in_any_shape(shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    images = clouds(torch.randn(50, 1 + channels, height, width, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (50, *shape)
    assert images.std() == pytest.approx(1, abs=0.15)
    across, down = (float(images.diff(dim=axis).square().mean()) for axis in (3, 2))
    assert across < 1  # half of white noise's
    assert across == pytest.approx(down, rel=0.1)  # as smooth in one direction as in the other


def test_an_interrupted_distillation_goes_on(tmp_path: Path, loaded: LoadedNetwork) -> None:
    distill(loaded, tmp_path / "whole.npz", QUICK)
    descend, calls = distillation._descend, 0

    def interrupted(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return descend(*arguments)

    with patch.object(distillation, "_descend", interrupted):
        with pytest.raises(KeyboardInterrupt):
            distill(loaded, tmp_path / "set.npz", QUICK)
        assert {path.name for path in tmp_path.iterdir()} == {"whole.npz", "set.npz.parts"}
        distill(loaded, tmp_path / "set.npz", QUICK)
    assert calls == 3  # the first batch was not made again
    assert {path.name for path in tmp_path.iterdir()} == {"whole.npz", "set.npz"}
    whole, resumed = (load_datafree(tmp_path / name, loaded.checkpoint).images for name in ("whole.npz", "set.npz"))
    assert torch.equal(whole, resumed)
    distill(loaded, tmp_path / "other.npz", Distillation(images=12, batch_size=8, steps=4, seed=1))
    assert not torch.equal(whole, load_datafree(tmp_path / "other.npz", loaded.checkpoint).images)


def test_the_network_stays_as_it_is(tmp_path: Path, loaded: LoadedNetwork) -> None:
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    distill(loaded, tmp_path / "set.npz", QUICK)
    assert all(torch.equal(before[name], tensor) for name, tensor in loaded.network.state_dict().items())
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())
    assert not any(module._forward_pre_hooks for module in loaded.network.modules())


def test_a_search_takes_the_file(tmp_path: Path, loaded: LoadedNetwork) -> None:
    distill(loaded, tmp_path / "set.npz", QUICK)
    keywords: dict[str, Any] = {"data": str(tmp_path / "set.npz"), "quantizer": "linear", "budget": 0.1}
    env = gym.make("adrl_gym/MixedPrecisionQuant-v0", network=loaded.network, **keywords)
    splits = env.unwrapped.problem.splits  # type: ignore[attr-defined]
    assert splits.source == "data-free set set.npz: 12 images distilled from the checkpoint, no test images"
    with torch.no_grad():
        loaded.network.get_parameter("head.bias").add_(1)
    with pytest.raises(AdrlGymError, match=r"set.npz was distilled from checkpoint .*: distil one of these"):
        gym.make("adrl_gym/MixedPrecisionQuant-v0", network=loaded.network, **keywords)


@pytest.mark.parametrize("name", ["cifarnet", "test_resnet"])
def test_statistics_beside_the_weights_and_timm_s_norms_are_used(tmp_path: Path, name: str) -> None:
    loaded = load_network(name) if name == "cifarnet" else own_network(timm.create_model(name, pretrained=False))
    distill(loaded, tmp_path / "set.npz", Distillation(images=2, steps=1))
    assert len(load_datafree(tmp_path / "set.npz", loaded.checkpoint)) == 2


def test_the_shipped_sets_are_of_this_shape_and_scale(tmp_path: Path) -> None:
    loaded = load_network("resnet20")
    distill(loaded, tmp_path / "set.npz", Distillation(images=2, steps=1))
    shipped = np.load(Path(datafree.__file__).parent / "datafree" / "resnet20.npz")
    made = np.load(tmp_path / "set.npz")
    for name in ("low", "step", "checkpoint"):
        np.testing.assert_array_equal(shipped[name], made[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("set.npz", "{} exists already: remove it, or choose another file"),
        ("set.npy", "output must end in .npz, got {}"),
    ],
)
def test_files_that_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    (tmp_path / "set.npz").write_text("something else")
    monkeypatch.setattr(sys, "argv", ["distill.py", "--network", f"{FILE}:make", "--output", str(tmp_path / name)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "agents" / "distill.py"), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {message.format(tmp_path / name)} (--output)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


@pytest.mark.usefixtures("scripts")
def test_two_command_lines_and_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, run = tmp_path / "new" / "set.npz", tmp_path / "run"
    distilled = ["--network", f"{FILE}:make", "--output", str(output), "--images", "10", "--steps", "2"]
    assert run_command("distill", distilled) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    options = re.findall(r"^--network .*", printed.out, re.MULTILINE)[0].split()
    quick = ["--quantizer", "linear", "--budget", "0.1", "--episodes", "2", "--output", str(run)]
    assert run_command("haq", [*options, *quick]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    result = SearchResult.load(run / "result.json")
    assert result.data == "data-free"
    assert result.options["data"] == str(output)
    assert "data-free set set.npz: 10 images" in printed.out


@pytest.mark.usefixtures("scripts")
def test_the_options_of_a_search_on_the_file_name_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network, weights, output = f"{FILE}:make", tmp_path / "own.pt", tmp_path / "set.npz"
    torch.save(load_network(network).network.state_dict(), weights)
    given = ["--network", network, "--weights", str(weights), "--output", str(output), "--images", "2", "--steps", "1"]

    def run_on(device: str) -> int:
        return run_command("distill", [*given, "--device", device])

    assert run_on("cpu,cpu") == 2
    assert capsys.readouterr().err == "error: device must be a single one, got cpu,cpu: name one (--device)\n"
    assert run_on("auto") == 0
    assert capsys.readouterr().out.endswith(f"\n--network {network} --weights {weights} --data {output}\n")


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (f"{FILE}:without_norm", {}, "without_norm has no batch norm that keeps statistics.*give real ones"),
        (f"{FILE}:says_nothing", {}, "no batch norm"),
        (f"{FILE}:with_nan", {}, "diverges: check the network for NaN"),
        (f"{FILE}:make", {"images": 0}, "images must be at least 1, got 0"),
        (f"{FILE}:make", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (f"{FILE}:make", {"learning_rate": 0}, "learning_rate must be above 0, got 0"),
        (f"{FILE}:make", {"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_distilled(tmp_path: Path, network: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        distill(load_network(network), tmp_path / "set.npz", Distillation(**{"steps": 2, **settings}))
    assert list(tmp_path.glob("*.npz")) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, loaded: LoadedNetwork) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AdrlGymError, match=r"cannot make the folder .*choose another"):
        distill(loaded, tmp_path / "file" / "set.npz", QUICK)


PAIR = """
from branches import make as plain

def make():
    network = plain()
    network.pretrained_cfg = {"input_size": (3, 16, 16)}
    forward = type(network).forward
    network.__class__ = type("Pair", (type(network),), {"forward": lambda self, x: (x, forward(self, x))})
    return network
"""


@pytest.mark.usefixtures("scripts")
def test_normalisation_and_logits_may_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(PAIR)
    output = tmp_path / "set.npz"
    given = ["--network", f"{tmp_path / 'mine.py'}:make", "--output", str(output), "--images", "4", "--steps", "1"]
    said = ["--mean", "0.5", "0.4", "0", "--std", "0.5", "0.2", "1"]
    assert run_command("distill", [*given, "--logits", "1"]) == 2
    assert "'mean'" in capsys.readouterr().err
    assert run_command("distill", [*given, *said]) == 2
    assert "returns a tuple of 2 for one image: say which part" in capsys.readouterr().err
    assert run_command("distill", [*given, *said[:4], "--logits", "1"]) == 2
    assert "mean and std belong together: give both (--mean, --std)" in capsys.readouterr().err
    assert run_command("distill", [*given, *said, "--logits", "1"]) == 0
    options = capsys.readouterr().out.splitlines()[-1].split()
    assert options[-4:] == ["--logits", "1", "--data", str(output)]
    lows = np.load(output)["low"]
    assert lows == pytest.approx([-1, -2, 0])
    quick = ["--method", "uniform", "--quantizer", "linear", "--budget", "0.15", "--output", str(tmp_path / "run")]
    assert run_command("search", [*options, *quick]) == 0
