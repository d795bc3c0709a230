"""Data-free sets: shipped with the package, each for one checkpoint."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from adrl_gym.datasets import datafree
from adrl_gym.datasets.cifar import CIFAR10_FOLDER
from adrl_gym.datasets.datafree import load_datafree, save_datafree
from adrl_gym.datasets.find import find_splits, load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import load_network


def test_what_was_found_without_data_can_be_tested_on_real_images(cifar_root: Path) -> None:
    splits = load_splits("cifarnet", "data-free", data_root=cifar_root, images=50)
    assert (splits.name, splits.search.labels) == ("data-free", None)
    assert splits.test is not None
    assert len(splits.test) == 10_000
    assert splits.source.endswith("50 images distilled from the checkpoint, 10,000 real test images")


@pytest.mark.parametrize("network", ["cifarnet", "resnet20"])
def test_auto_falls_back_to_the_data_free_set(network: str) -> None:
    splits = load_splits(network)
    assert splits.name == "data-free"
    assert splits.test is None
    assert splits.search.labels is None
    assert splits.search.images.shape == (1000, 3, 32, 32)
    with torch.inference_mode():
        confidence = load_network(network).network(splits.search.images[:200]).softmax(1).amax(1)
    assert confidence.mean() > 0.5  # noise does not look like anything
    with pytest.raises(AdrlGymError, match="images=0"):
        load_splits(network, images=0)
    with pytest.raises(AdrlGymError, match=r"images=1001: .* has 1 to 1,000"):
        load_splits(network, images=1001)


def test_data_free_sets_are_small() -> None:
    files = list((Path(sys.modules["adrl_gym.datasets"].__path__[0]) / "datafree").glob("*.npz"))
    assert {file.stem for file in files} == {"cifarnet", "resnet20"}
    assert all(file.stat().st_size <= 1_500_000 for file in files)


def test_data_free_set_belongs_to_one_checkpoint(tmp_path: Path) -> None:
    levels = torch.randint(0, 16, (5, 3, 4, 4), dtype=torch.uint8)
    low, step = torch.tensor([-2.0, -1.0, 0.0]), torch.tensor([0.25, 0.5, 1.0])
    save_datafree(tmp_path / "set.npz", levels, low, step, "a" * 64)
    images = load_datafree(tmp_path / "set.npz", "a" * 64)
    assert torch.equal(images.images[:, 1], -1 + 0.5 * levels[:, 1].float())
    with pytest.raises(AdrlGymError, match=r"distilled from checkpoint aaaaaaaaaaaa, the weights in use are bbbb"):
        load_datafree(tmp_path / "set.npz", "b" * 64)
    with pytest.raises(AdrlGymError, match="was distilled from checkpoint"):
        load_splits("cifarnet", "data-free", checkpoint="b" * 64)


def test_a_file_of_distilled_images_is_tested_on_real_ones_or_says_that_it_cannot(
    tmp_path: Path, tiny: nn.Module, cifar_root: Path
) -> None:
    loaded, shipped = load_network("resnet20"), Path(datafree.__file__).parent / "datafree" / "resnet20.npz"
    splits = find_splits(loaded, str(shipped), data_root=cifar_root, images=20)
    assert (
        splits.source == "data-free set resnet20.npz: 20 images distilled from the checkpoint, 10,000 real test images"
    )
    assert splits.test is not None
    assert len(splits.test) == 10_000
    with pytest.raises(AdrlGymError, match=f"no {CIFAR10_FOLDER} in {tmp_path}"):
        find_splits(loaded, str(shipped), data_root=tmp_path)
    with pytest.raises(AdrlGymError, match="is all that is searched on: leave out data_root and download"):
        find_splits(loaded, str(shipped), download=True)
