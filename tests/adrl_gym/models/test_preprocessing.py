"""Preprocessing of images, from timm, torchvision or the network itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from adrl_gym import AdrlGymError
from adrl_gym.models.named import load_network, own_network
from adrl_gym.models.preprocessing import Preprocessing


def test_timm_brings_its_own_preprocessing(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", pretrained=False, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    loaded = load_network("timm:resnet18", tmp_path / "weights.pth")
    assert loaded.name == "resnet18"
    assert torch.equal(loaded.network.get_parameter("fc.weight"), network.get_parameter("fc.weight"))
    assert loaded.preprocessing().interpolation == "bicubic"


@pytest.mark.parametrize("name", ["resnet18", "vit_base_patch16_clip_224.openai", "lcnet_050", "levit_128s"])
@pytest.mark.parametrize("size", [(300, 200), (123, 457), (224, 224)])
def test_preprocessing_is_timm_s(name: str, size: tuple[int, int]) -> None:
    pretrained = timm.get_pretrained_cfg(name)
    assert pretrained is not None
    config = resolve_data_config(pretrained_cfg=pretrained.to_dict())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    expected = create_transform(**config)(Image.fromarray(pixels))
    assert torch.equal(Preprocessing.from_config(config, name)(Image.fromarray(pixels)), expected)


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "efficientnet_b3"])
@pytest.mark.parametrize("size", [(300, 200), (123, 457)])
def test_preprocessing_is_torchvision_s(name: str, size: tuple[int, int]) -> None:
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert torch.equal(Preprocessing.from_preset(preset)(Image.fromarray(pixels)), preset(Image.fromarray(pixels)))


def test_grey_networks_get_grey_images() -> None:
    preprocess = Preprocessing.from_config({"input_size": (1, 4, 4), "mean": [0.5], "std": [0.5]}, "grey")
    assert torch.equal(preprocess(Image.new("RGB", (9, 5), "white")), torch.ones(1, 4, 4))
    assert torch.equal(preprocess.black, -torch.ones(1))
    assert torch.equal(preprocess.black + preprocess.span, torch.ones(1))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_size": (3, 8, 8)}, "is not whole"),
        ({"input_size": 8, "mean": [0] * 3, "std": [1] * 3}, "is not whole"),
        ({"input_size": (3, 8, 8), "mean": [0], "std": [1]}, "cannot be"),
        ({"input_size": (3, 8, 8), "mean": [0] * 3, "std": [0] * 3}, "cannot be"),
        ({"input_size": (2, 8, 8), "mean": [0] * 2, "std": [1] * 2}, "cannot be"),
        ({"input_size": (3, 8, 8), "mean": [0] * 3, "std": [1] * 3, "crop_mode": "border"}, "crop_mode center or"),
        ({"input_size": (3, 8, 8), "mean": [0] * 3, "std": [1] * 3, "interpolation": "best"}, "one of bilinear"),
        ({"input_size": (3, 8, 8), "mean": [120] * 3, "std": [58] * 3}, "0 to 255 .*: divide both by 255"),
        ({"input_size": (1, 3, 8, 8), "mean": [0] * 3, "std": [1] * 3}, "is not whole"),
    ],
)
def test_preprocessing_that_cannot_be(config: dict[str, Any], message: str) -> None:
    network = nn.Flatten()
    network.pretrained_cfg = config  # type: ignore[assignment]
    with pytest.raises(AdrlGymError, match=rf"pretrained_cfg of Flatten .*{message}"):
        own_network(network).preprocessing()


@dataclass
class Config:
    """Configuration like timm's own, with fields that are not known."""

    input_size: tuple[int, ...] = (3, 8, 8)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    crop_pct: float | None = None


def test_a_configuration_may_be_a_dataclass() -> None:
    network = nn.Flatten()
    network.pretrained_cfg = Config()  # type: ignore[assignment]
    loaded = own_network(network)
    assert loaded.says_normalisation
    assert loaded.preprocessing() == Preprocessing((3, 8, 8), (0.5,) * 3, (0.25,) * 3, (8, 8))


def test_what_is_said_fills_a_configuration() -> None:
    network = nn.Flatten()
    network.pretrained_cfg = {"input_size": (3, 8, 8)}  # type: ignore[assignment]
    loaded = own_network(network)
    made = loaded.normalised((0.1, 0.2, 0.3), (1, 1, 1)).preprocessing()
    assert (made.shape, made.mean) == ((3, 8, 8), (0.1, 0.2, 0.3))
    with pytest.raises(AdrlGymError, match=r"mean is of pixels from 0 to 255 .*: divide both by 255"):
        loaded.normalised((123, 117, 104), (58, 57, 57))
