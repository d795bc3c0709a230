"""Splits of CIFAR-10, the data-free set and a user's own images, and all that can be wrong with them."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adrl_gym.datasets import datafree
from adrl_gym.datasets.cifar10 import CIFAR10_FOLDER, load_cifar10
from adrl_gym.datasets.datafree import load_datafree, save_datafree
from adrl_gym.datasets.find import default_cache, find_splits, load_splits
from adrl_gym.datasets.fit import check_fit
from adrl_gym.datasets.folder import draw_pools
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.own import own_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import load_network

Batches = list[tuple[Tensor, Tensor]]


def test_batches_cover_all_images_in_order() -> None:
    images = ImageSet(torch.randn(7, 3, 2, 2), torch.arange(7))
    parts = list(images.batches(3))
    assert [len(x) for x, _ in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([x for x, _ in parts]), images.images)
    assert torch.equal(torch.cat([y for _, y in parts if y is not None]), torch.arange(7))
    assert all(y is None for _, y in ImageSet(images.images, None).batches(3))


def test_real_splits_are_disjoint_and_balanced(cifar_root: Path) -> None:
    splits = {name: load_cifar10(cifar_root, name) for name in ("train", "search", "test")}
    assert [len(split) for split in splits.values()] == [45_000, 5_000, 10_000]
    seen = [{image.numpy().tobytes() for image in split.images[:, :, ::4, ::4]} for split in splits.values()]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 60_000
    train = splits["train"].images
    assert torch.allclose(train.mean((0, 2, 3)), torch.zeros(3), atol=0.01)
    assert torch.allclose(train.std((0, 2, 3)), torch.ones(3), atol=0.01)
    for split in splits.values():
        assert split.labels is not None
        assert torch.bincount(split.labels, minlength=10).min() >= 0.09 * len(split)


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


def test_incomplete_or_corrupted_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / CIFAR10_FOLDER
    folder.mkdir()
    with pytest.raises(AdrlGymError, match="incomplete or corrupted: delete that folder and download it again"):
        load_splits("resnet20", data_root=tmp_path)
    for name in (
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ):
        (folder / name).write_bytes(b"not a batch")
    (folder / "batches.meta").write_bytes(b"")
    monkeypatch.setenv("ADRL_GYM_DATA", str(tmp_path))
    with pytest.raises(AdrlGymError) as caught:
        load_splits("resnet20")
    assert str(folder) in str(caught.value)


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


def test_folders_without_cifar10(tmp_path: Path) -> None:
    with pytest.raises(AdrlGymError, match=f"no {CIFAR10_FOLDER} in {tmp_path}"):
        load_splits("resnet20", "data-free", data_root=tmp_path)
    with pytest.raises(AdrlGymError, match=f"no {CIFAR10_FOLDER} in {tmp_path}"):
        load_splits("resnet20", "cifar10", data_root=tmp_path)
    with pytest.raises(AdrlGymError, match="or let CIFAR-10 be downloaded"):
        load_splits("resnet20", "auto", data_root=tmp_path)


def test_failing_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_keywords: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    with pytest.raises(AdrlGymError, match=r"could not be downloaded into .* \(no route to host\)"):
        load_splits("resnet20", "cifar10", data_root=tmp_path, download=True)


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


def test_own_images_are_taken_from_the_front(batches: Batches) -> None:
    splits = own_splits(iter(batches), images=150)
    assert splits.search.images.shape == (150, 3, 8, 8)
    assert splits.search.labels is not None
    assert torch.equal(splits.search.labels, torch.cat([batches[0][1], batches[1][1][:50]]))
    assert splits.test is None
    assert splits.source == "own data: 150 search images, no test images"
    assert len(own_splits(batches).search) == 300


X, Y = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "holds no images"),
        ([(X[:0], Y[:0])], "holds no images"),
        ([X], "no pair of tensors"),
        ([(X, [0, 0, 0, 0])], "no pair of tensors"),
        (
            [(X, Y), ((X * 255).to(torch.uint8), Y)],
            "batch 1 of the data has images of torch.uint8: scale them",
        ),
        ([(X, Y.float())], "labels of torch.float32"),
        ([(X, Y[:3])], r"shape \(3,\) for 4 images"),
        (
            [(X, torch.zeros(4, 10, dtype=torch.int64))],
            r"one integer class index an image is needed, shape \(4,\)",
        ),
        ([(X, Y), (X[..., :6], Y)], r"shape \(3, 8, 6\), those before have \(3, 8, 8\): resize"),
        ([(X / 0, Y)], "NaN or infinite values in its images"),
        ([(Y, Y)], "scale them to floating point"),
    ],
)
def test_own_images_that_cannot_be(batches: Batches, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        own_splits(batches)


def test_fewer_than_one_image(batches: Batches) -> None:
    with pytest.raises(AdrlGymError, match="images=0: at least 1"):
        own_splits(batches, images=0)


def test_fitting_images_pass(tiny: nn.Module) -> None:
    check_fit(tiny, ImageSet(X, Y + 4))
    check_fit(tiny, ImageSet(X, None))


def test_a_network_that_writes_into_its_images_gets_a_copy(tiny: nn.Module) -> None:
    images = X.clone()
    check_fit(nn.Sequential(nn.ReLU(inplace=True), tiny), ImageSet(images, Y))
    assert torch.equal(images, X)


def test_one_image_cannot_be_searched_and_tested_on() -> None:
    with pytest.raises(AdrlGymError, match=r"cats/1\.png is the only image there, .* add more beside it"):
        draw_pools({"": [("cats/1.png", 0)]})


@pytest.mark.parametrize("label", [5, -1])
def test_label_out_of_range(tiny: nn.Module, label: int) -> None:
    labels = torch.tensor([0, 4, label, 0])
    with pytest.raises(AdrlGymError, match=f"label {label} of image 2 is out of range: Tiny has 5 outputs"):
        check_fit(tiny, ImageSet(X, labels))


def test_images_of_another_shape(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"shape \(1, 8, 8\) do not fit Tiny, .* conv1.weight .* \(6, 3, 3, 3\)"):
        check_fit(tiny, ImageSet(X[:, :1], Y))
    with pytest.raises(AdrlGymError, match=r"images of shape \(3, 6, 8\) do not fit Tiny"):
        check_fit(tiny, ImageSet(X[:, :, :6], Y))


def test_networks_that_do_not_classify(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"Sequential returns \(1, 3, 8, 8\) for one image: logits"):
        check_fit(nn.Sequential(nn.ReLU()), ImageSet(X, Y))
    bilinear = nn.Bilinear(192, 192, 5)
    with pytest.raises(AdrlGymError, match=r"do not fit Bilinear.*: .*missing 1 required positional argument"):
        check_fit(bilinear, ImageSet(X, Y))
    with pytest.raises(AdrlGymError, match="no images for Tiny"):
        check_fit(tiny, ImageSet(X[:0], Y[:0]))


def test_splits_never_change(cifar_root: Path) -> None:
    labels = load_cifar10(cifar_root, "search").labels
    assert labels is not None
    assert labels[:12].tolist() == [3, 8, 1, 3, 7, 6, 9, 7, 4, 4, 0, 5]
