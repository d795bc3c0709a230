"""Tiny ImageNet, as its archive unpacks."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from adrl_gym.datasets.folder import folder_splits
from adrl_gym.datasets.splits import Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.preprocessing import Preprocessing


def splits(root: Path) -> Splits:
    return folder_splits(root, 4, preprocess=Preprocessing((3, 16, 16), (0.0,) * 3, (1.0,) * 3, (16, 16)), classes=2)


def tiny_imagenet(root: Path) -> Path:
    """Make Tiny ImageNet's layout with two classes."""
    for index in range(2):
        images = root / "train" / f"n{index}" / "images"
        images.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), (100 * index, 0, 0)).save(images / f"n{index}_{number}.JPEG")
        (images.parent / f"n{index}_boxes.txt").write_text("n0_0.JPEG\t0\t0\t9\t9\n")
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16), (100 * (number % 2), 0, 0)).save(
                root / split / "images" / f"{split}_{number}.JPEG"
            )
    lines = [f"val_{number}.JPEG\tn{number % 2}\t0\t0\t9\t9\n" for number in range(4)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_is_read_as_it_comes(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    found = splits(root)
    assert found.source.endswith("drawn from train/, 4 test images from val/; not used: test/, 2 files (.txt)")
    assert found.test is not None
    for images, labels in found.test.batches(4):
        assert labels is not None
        assert labels.tolist() == [0, 0, 1, 1]
        assert torch.equal((images[:, 0].mean((1, 2)) > 0.2).long(), labels)
    for number in range(4):  # as many people sort it
        folder = root / "val" / f"n{number % 2}"
        folder.mkdir(exist_ok=True)
        (root / "val" / "images" / f"val_{number}.JPEG").rename(folder / f"val_{number}.JPEG")
    (root / "val" / "images").rmdir()
    assert "4 test images from val/" in splits(root).source


def test_tiny_imagenet_that_is_damaged(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG n0\n")
    with pytest.raises(AdrlGymError, match=r"line 1 of .*val_annotations.txt is no picture with its class, separated"):
        splits(root)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn0\n")
    with pytest.raises(AdrlGymError, match=r"have different class folders|1 class folders, the network 2 outputs"):
        splits(root)
