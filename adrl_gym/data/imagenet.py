"""ImageNet from a folder: torchvision's layout, or any ImageFolder with ``val/``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adrl_gym.data.images import LazyImageSet
from adrl_gym.data.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.vision import import_torchvision

META = (
    "meta.bin",
    "ILSVRC2012_devkit_t12.tar.gz",
)  # either marks a folder that torchvision's ImageNet can open


def is_imagenet(root: Path) -> bool:
    """Whether the folder looks like ImageNet: it has ``val/``, or the official archives."""
    return (root / "val").is_dir() or any((root / name).exists() for name in META)


def imagenet_splits(root: str | Path, images: int, *, preprocess: Callable[[Any], Tensor], classes: int) -> Splits:
    """Search images drawn from ``train/`` where it exists, else from one half of ``val/``.

    Only the search images are decoded here; test images are read batch by batch when they are used.

    Args:
        root: holds ``val/`` and perhaps ``train/``, with one folder a class.
        images: how many search images.
        preprocess: PIL image to normalised tensor ``(C, H, W)``.
        classes: outputs of the network. Class indices are the ranks of the folders' names, so exactly as
            many folders are needed (folders of classes without images may be empty).

    Raises:
        AdrlGymError: no such folder, another number of classes, too few images, an unreadable image.
    """
    root = Path(root)
    if not is_imagenet(root):
        raise AdrlGymError(
            f"no ImageNet in {root}: name a folder that holds val/ with one folder a class (--data-root)"
        )
    read = partial(_read, preprocess=preprocess)
    val = _samples(root, "val", classes)
    # The legacy generator: NumPy promises that its stream never changes, so neither do the splits.
    draw = np.random.RandomState(0)
    if (root / "train").is_dir():
        train = _samples(root, "train", classes)
        pool = [train[index] for index in draw.permutation(len(train))]
        test, origin = val, "train/"
    else:
        order = draw.permutation(len(val))
        pool = [val[index] for index in order[: len(val) // 2]]
        test, origin = (
            [val[index] for index in sorted(order[len(val) // 2 :])],
            "one half of val/ (no train/ here)",
        )
    check_count(images, len(pool), f"{root}/{origin}")
    return Splits(
        search=_lazy(pool[:images], read).load(),
        test=_lazy(test, read),
        source=f"ImageNet: {images:,} search images drawn from {origin}, {len(test):,} test images from val/",
        name="imagenet",
        hint="--data-root names another folder",
    )


def _samples(root: Path, split: str, classes: int) -> list[tuple[str, int]]:
    """Path and class index of every image of a split, in the order of their names."""
    datasets = import_torchvision().datasets
    try:
        if any((root / name).exists() for name in META):
            folder = datasets.ImageNet(str(root), split, allow_empty=True)
        else:
            folder = datasets.ImageFolder(str(root / split), allow_empty=True)
    except (OSError, RuntimeError, ImportError) as error:
        raise AdrlGymError(f"ImageNet in {root} cannot be opened: {error}") from error
    found = len(set(folder.class_to_idx.values()))
    if found != classes:
        raise AdrlGymError(
            f"{root / split} has {found:,} class folders, the network {classes:,} outputs: class indices are "
            "the ranks of the folders' names, so add an empty folder for every class that was left out"
        )
    if not folder.samples:
        raise AdrlGymError(f"{root / split} holds no images")
    return folder.samples


def _lazy(samples: list[tuple[str, int]], read: Callable[[str], Tensor]) -> LazyImageSet:
    return LazyImageSet(tuple(path for path, _ in samples), torch.tensor([label for _, label in samples]), read)


def _read(path: str, *, preprocess: Callable[[Any], Tensor]) -> Tensor:
    loader = import_torchvision().datasets.folder.default_loader
    try:
        return preprocess(loader(path))  # (C, H, W)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise AdrlGymError(f"image {path} cannot be read ({error}): delete or replace it") from error
