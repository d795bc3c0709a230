"""CIFAR-10: its splits, and folders and downloads that fail."""

from pathlib import Path

import pytest
import torch

from adrl_gym.datasets.cifar import CIFAR10_FOLDER, load_cifar10
from adrl_gym.datasets.find import load_splits
from adrl_gym.errors import AdrlGymError


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


def test_splits_never_change(cifar_root: Path) -> None:
    labels = load_cifar10(cifar_root, "search").labels
    assert labels is not None
    assert labels[:12].tolist() == [3, 8, 1, 3, 7, 6, 9, 7, 4, 4, 0, 5]
