"""The networks of the family: their layers, none of the unseen ones among them, and weights that are trained once."""

import re
from pathlib import Path

import pytest
import torch

from adrl_gym.datasets.images import ImageSet
from adrl_gym.layers.find import find_layers
from adrl_gym.models.named import NETWORKS, load_network
from benchmarks.family import networks, train
from benchmarks.harness.csv_file import read_rows


def test_ten_networks_of_8_to_40_layers_none_of_which_is_judged_on() -> None:
    assert len(networks.FAMILY) >= 10
    assert not set(networks.FAMILY) & set(NETWORKS)
    for name, make in networks.FAMILY.items():
        layers = find_layers(make().eval(), (3, 32, 32))
        assert len(layers) == int(re.sub(r"\D", "", name))
        assert 8 <= len(layers) <= 40
        assert sum(layer.macs for layer in layers) < 12e6


def test_weights_are_trained_once_and_load_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = ImageSet(torch.randn(256, 3, 32, 32, generator=generator), torch.arange(256) % 10)
    monkeypatch.setattr(train, "load_cifar10", lambda *_: images)
    options = train.Options(
        data_root=tmp_path, output=tmp_path, networks=("separable14",), epochs=1, bfloat16=False, results=tmp_path
    )
    train.main(options)
    weights = tmp_path / "separable14.safetensors"
    written = weights.stat().st_mtime_ns
    train.main(options)
    assert weights.stat().st_mtime_ns == written
    (row,) = read_rows(tmp_path / "family_networks.csv")
    assert row["layers"] == "14"
    loaded = load_network(f"{Path(networks.__file__)}:separable14", weights)
    assert loaded.checkpoint.startswith(row["checkpoint"])
