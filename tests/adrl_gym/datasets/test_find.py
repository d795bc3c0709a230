"""The data set that a network gets: found, chosen or refused."""

import pickle
from pathlib import Path

import pytest
import torch

from adrl_gym.datasets.cifar import load_cifar10
from adrl_gym.datasets.find import default_cache, load_splits
from adrl_gym.errors import AdrlGymError


def test_auto_takes_cifar10_where_it_is_found(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRL_GYM_DATA", str(cifar_root))
    splits = load_splits("cifarnet", images=50)
    assert splits.name == "cifar10"
    assert len(splits.search) == 50
    assert splits.test is not None
    assert len(splits.test) == 10_000
    assert torch.equal(splits.search.images, load_cifar10(cifar_root, "search").images[:50])
    assert splits.source == "CIFAR-10: 50 search images held out of training, 10,000 test images"
    assert len(pickle.dumps(splits.search)) < 1_000_000  # without the other 4,950
    with pytest.raises(AdrlGymError, match=r"images=5001: CIFAR-10 has 1 to 5,000 search images"):
        load_splits("cifarnet", images=5001)


def test_default_cache_follows_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "adrl_gym"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "adrl_gym"


def test_without_a_home_directory_there_is_the_data_free_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert default_cache() is None
    assert load_splits("cifarnet", images=8).name == "data-free"
    with pytest.raises(AdrlGymError, match="there is no home directory to download to: name a folder") as raised:
        load_splits("cifarnet", "cifar10", images=8, download=True)
    assert raised.value.parameter == "data_root"
    with pytest.raises(AdrlGymError, match="no cifar-10-batches-py in any known folder"):
        load_splits("cifarnet", "cifar10", images=8)
    with pytest.raises(AdrlGymError, match="no ImageNet in any known folder"):
        load_splits("alexnet", images=8)


@pytest.mark.parametrize(
    ("network", "data", "message"),
    [
        ("resnet56", "auto", "unknown network 'resnet56': choose one of resnet20"),
        ("resnet20", "mnist", "unknown data 'mnist': choose one of auto"),
        ("resnet20", "imagenet", "resnet20 was trained on cifar10, not on imagenet"),
        ("alexnet", "data-free", "alexnet has no data-free set"),
        ("alexnet", "auto", "no ImageNet in"),
    ],
)
def test_data_that_cannot_be(network: str, data: str, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        load_splits(network, data)


def test_imagenet_is_not_downloaded() -> None:
    with pytest.raises(AdrlGymError, match="ImageNet cannot be downloaded here"):
        load_splits("alexnet", "imagenet", download=True)
