"""Images from a folder with one folder a class: search and test splits that never overlap."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adrl_gym.datasets.images import LazyImageSet
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.vision import import_torchvision

Samples = list[tuple[str, int]]  # path and class index of every image, in the order of their names


def folder_splits(root: str | Path, images: int, *, preprocess: Callable[[Any], Tensor], classes: int) -> Splits:
    """Search images drawn from ``train/``, test images from ``val/``; where one is missing, from two halves.

    Only the search images are decoded here; test images are read batch by batch when they are used.

    Args:
        root: holds one folder a class, or ``train/`` and ``val/`` (or one of them) that do.
        images: how many search images; all of their split, if it has fewer.
        preprocess: PIL image to normalised tensor ``(C, H, W)``.
        classes: outputs of the network. Class indices are the ranks of the folders' names.

    Raises:
        AdrlGymError: no such folder, another number of classes, other classes in ``val`` than in ``train``, no images,
            an unreadable image.
    """
    root = Path(root)
    if not root.is_dir():
        raise AdrlGymError(f"there is no folder {root}: name one that holds one folder a class", parameter="data_root")
    parts = {name: read_samples(root / name, classes) for name in ("train", "val") if (root / name).is_dir()}
    if not parts:
        parts = {"": read_samples(root, classes)}
    if len(parts) == 2:
        _check_same_classes(root / "train", root / "val")
    pool, test, origin = draw_pools(parts)
    count = min(images, len(pool))
    check_count(count, len(pool), str(root))
    return Splits(
        search=lazy_images(pool[:count], preprocess).load(),
        test=lazy_images(test, preprocess),
        source=f"folder {root.name}: {count:,} search images {origin}",
        name="folder",
        train=rest_of(pool[count:], preprocess),
    )


def _check_same_classes(*folders: Path) -> None:
    names = [{entry.name for entry in folder.iterdir() if entry.is_dir()} for folder in folders]
    if odd := sorted(names[0] ^ names[1]):
        raise AdrlGymError(
            f"{folders[0]} and {folders[1]} have different class folders, {odd[0]} is in one of them alone: class "
            "indices are the ranks of the folders' names, so add an empty folder for every class that was left out"
        )


def rest_of(samples: Samples, preprocess: Callable[[Any], Tensor]) -> Callable[[], LazyImageSet] | None:
    """Gives the images that the search has left over, to train on; ``None`` where it has left none."""
    return partial(lazy_images, samples, preprocess) if samples else None


def draw_pools(parts: dict[str, Samples]) -> tuple[Samples, Samples, str]:
    """Samples to draw search images from in random order, those to test on, and a phrase for where they are from.

    Args:
        parts: samples of ``train`` and ``val``, or of one folder alone (its name may be empty).

    Raises:
        AdrlGymError: one folder with one image, which cannot be halved.
    """
    # The legacy generator: NumPy promises that its stream never changes, so neither do the splits.
    draw = np.random.RandomState(0)
    if len(parts) == 2:
        train, test = parts["train"], parts["val"]
        pool = [train[index] for index in draw.permutation(len(train))]
        return pool, test, f"drawn from train/, {len(test):,} test images from val/"
    ((name, samples),) = parts.items()
    if len(samples) == 1:
        raise AdrlGymError(
            f"{samples[0][0]} is the only image there, and search and test images are two halves: add more beside it"
        )
    order, half = draw.permutation(len(samples)), len(samples) // 2
    pool, test = [samples[index] for index in order[:half]], [samples[index] for index in sorted(order[half:])]
    whole = f"{name}/" if name else "it"
    return pool, test, f"drawn from one half of {whole}, {len(test):,} test images from the other"


def read_samples(folder: Path, classes: int, dataset: Any = None) -> Samples:
    """The samples of a folder, or of a torchvision ``dataset`` that was opened in another way.

    Raises:
        AdrlGymError: it cannot be opened, has another number of classes, or no images.
    """
    try:
        dataset = dataset or import_torchvision().datasets.ImageFolder(str(folder), allow_empty=True)
    except OSError as error:
        raise AdrlGymError(f"{folder} cannot be opened: {error}; one folder a class is needed") from error
    found = len(set(dataset.class_to_idx.values()))
    if found != classes:
        raise AdrlGymError(
            f"{folder} has {found:,} class folders, the network {classes:,} outputs: class indices are "
            "the ranks of the folders' names, so add an empty folder for every class that was left out"
        )
    if not dataset.samples:
        raise AdrlGymError(f"{folder} holds no images")
    return dataset.samples


def lazy_images(samples: Samples, preprocess: Callable[[Any], Tensor]) -> LazyImageSet:
    """The images of samples, decoded when they are asked for."""
    labels = torch.tensor([label for _, label in samples])  # (N,)
    return LazyImageSet(tuple(path for path, _ in samples), labels, partial(_read, preprocess=preprocess))


def _read(path: str, *, preprocess: Callable[[Any], Tensor]) -> Tensor:
    loader = import_torchvision().datasets.folder.default_loader
    try:
        return preprocess(loader(path))  # (C, H, W)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise AdrlGymError(f"image {path} cannot be read ({error}): delete or replace it") from error
