"""ImageNet on small generated folders, AlexNet and ResNet50 with random weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from adrl_gym.datasets.find import load_splits
from adrl_gym.datasets.fit import check_fit
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.imagenet import imagenet_preprocessing
from adrl_gym.models.named import NETWORKS, load_network


def add_images(folder: Path, count: int) -> None:
    """Put ``count`` small JPEGs, each of another grey, into a class folder."""
    for index in range(count):
        Image.new("RGB", (20, 16), (10 * index, 10 * index, 10 * index)).save(folder / f"{index}.JPEG")


def make_split(folder: Path, classes: int) -> None:
    """One folder a class, most of them empty: twelve images in all, of classes 0, 7 and 999."""
    for index in range(classes):
        (folder / f"n{index:08d}").mkdir(parents=True)
    for index in (0, 7, 999):
        if index < classes:
            add_images(folder / f"n{index:08d}", 4)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``train/`` and ``val/``."""
    root = tmp_path_factory.mktemp("imagenet")
    make_split(root / "train", 1000)
    make_split(root / "val", 1000)
    return root


@pytest.fixture(scope="module")
def only_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``val/`` alone."""
    root = tmp_path_factory.mktemp("only_val")
    make_split(root / "val", 1000)
    return root


@pytest.fixture(autouse=True)
def one_seed() -> Iterator[None]:
    """Random weights are the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_search_images_come_from_train(imagenet: Path) -> None:
    splits = load_splits("alexnet", "imagenet", data_root=imagenet, images=5)
    assert splits.source == "ImageNet: 5 search images drawn from train/, 12 test images from val/"
    assert splits.search.images.shape == (5, 3, 224, 224)
    assert splits.search.labels is not None
    assert set(splits.search.labels.tolist()) <= {0, 7, 999}
    assert splits.test is not None
    assert splits.test.labels is not None
    assert splits.test.labels.tolist() == [0] * 4 + [7] * 4 + [999] * 4
    again = load_splits("alexnet", "imagenet", data_root=imagenet, images=5)
    assert torch.equal(again.search.images, splits.search.images)
    x, y = next(splits.test.batches(6))
    first = Image.open(imagenet / "val" / "n00000000" / "0.JPEG").convert("RGB")
    assert torch.equal(x[0], imagenet_preprocessing("alexnet")(first))
    assert y is not None
    assert y.tolist() == [0, 0, 0, 0, 7, 7]


def test_without_train_val_is_halved(only_val: Path) -> None:
    splits = load_splits("resnet50", data_root=only_val, images=6)
    assert splits.source == ("ImageNet: 6 search images drawn from one half of val/, 6 test images from the other")
    assert splits.test is not None
    assert splits.search.labels is not None
    assert splits.test.labels is not None
    found = {
        (round(float(x.mean()), 4), int(y)) for x, y in zip(splits.search.images, splits.search.labels, strict=True)
    }
    for x, y in splits.test.batches(1):
        assert y is not None
        assert (round(float(x.mean()), 4), int(y)) not in found  # disjoint
    assert len(found) == 6
    with pytest.raises(AdrlGymError, match=r"images=7: .*/val has 1 to 6 search images"):
        load_splits("resnet50", data_root=only_val, images=7)


def test_named_weights_need_no_download(tmp_path: Path, imagenet: Path) -> None:
    network = NETWORKS["resnet50"].make()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    loaded = load_network("resnet50", tmp_path / "resnet50.pth")
    assert torch.equal(loaded.network.get_parameter("fc.weight"), network.get_parameter("fc.weight"))
    assert not loaded.network.training
    test = load_splits("resnet50", data_root=imagenet, images=1).test
    assert test is not None
    check_fit(loaded.network, test)


def test_alexnet_takes_a_safetensors_file(tmp_path: Path) -> None:
    network = NETWORKS["alexnet"].make()
    save_file(network.state_dict(), tmp_path / "alexnet.safetensors")
    loaded = load_network("alexnet", tmp_path / "alexnet.safetensors")
    with torch.inference_mode():
        assert loaded.network(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
    with pytest.raises(AdrlGymError, match="does not fit ResNet"):
        load_network("resnet50", tmp_path / "alexnet.safetensors")


@pytest.mark.parametrize("name", ["alexnet", "resnet50"])
def test_failing_download_says_how_to_name_a_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_keywords: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(AdrlGymError, match=rf"weights of {name} could not be downloaded .* by another way and name it"):
        load_network(name)


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(AdrlGymError, match=f"no ImageNet in {tmp_path}"):
        load_splits("alexnet", data_root=tmp_path)
    make_split(tmp_path / "few" / "val", 10)
    with pytest.raises(AdrlGymError, match="val has 10 class folders, the network 1,000 outputs"):
        load_splits("alexnet", data_root=tmp_path / "few")
    make_split(tmp_path / "empty" / "val", 0)
    (tmp_path / "empty" / "val").mkdir(parents=True)
    with pytest.raises(AdrlGymError, match="holds no class folders: put"):
        load_splits("alexnet", data_root=tmp_path / "empty")


def test_broken_devkit(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"no archive")
    with pytest.raises(AdrlGymError, match=f"ImageNet in {tmp_path} cannot be opened"):
        load_splits("alexnet", data_root=tmp_path)


def test_torchvisions_layout(only_val: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(only_val / "val")
    names = {f"n{index:08d}": (f"class {index}",) for index in range(1000)}
    torch.save((names, []), tmp_path / "meta.bin")
    splits = load_splits("alexnet", data_root=tmp_path, images=2)
    assert splits.test is not None
    assert len(splits.test) == 6


def test_unreadable_image(tmp_path: Path) -> None:
    make_split(tmp_path / "val", 1000)
    for image in (tmp_path / "val").rglob("*.JPEG"):
        image.write_bytes(b"no image")
    with pytest.raises(AdrlGymError, match=r"image .*JPEG cannot be read"):
        load_splits("alexnet", data_root=tmp_path, images=2)
