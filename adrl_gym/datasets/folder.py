"""Images from a folder with one folder a class: search and test splits that never overlap."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adrl_gym.datasets.images import LazyImageSet
from adrl_gym.datasets.layout import described_classes, find_layout, read_classes, visible_folders
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError

Samples = list[tuple[str, int]]  # path and class index of every image, in the order of their names


def folder_splits(root: str | Path, images: int, *, preprocess: Callable[[Any], Tensor], classes: int) -> Splits:
    """Return search images drawn from ``train/``, test images from ``test/`` or ``val/``, or halves of one folder.

    Only the search images are decoded here; test images are read batch by batch when they are used.

    Args:
        root: holds one folder a class, or splits that do; see ``find_layout``.
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
    layout = find_layout(root)
    parts = {"" if layout.search == root else layout.search.name: read_samples(layout.search, classes)}
    if layout.test is not None:
        parts[layout.test.name] = read_samples(layout.test, classes)
        _check_same_classes(layout.search, layout.test)
    pool, test, origin = draw_pools(parts)
    count = min(images, len(pool))
    check_count(count, len(pool), str(root))
    return Splits(
        search=lazy_images(pool[:count], preprocess).load(),
        test=lazy_images(test, preprocess),
        source=f"folder {root.name}: {count:,} search images {origin}{layout.note}",
        name="folder",
        train=rest_of(pool[count:], preprocess),
    )


def _check_same_classes(*folders: Path) -> None:
    names = [{entry.name for entry in visible_folders(folder)} for folder in folders]
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
        parts: samples of the folder to search on and of the one to test on, or of one alone (its name may be empty).

    Raises:
        AdrlGymError: one folder with one image, which cannot be halved.
    """
    # The legacy generator: NumPy promises that its stream never changes, so neither do the splits.
    draw = np.random.RandomState(0)
    if len(parts) == 2:
        (search_name, train), (test_name, test) = parts.items()
        pool = [train[index] for index in draw.permutation(len(train))]
        return pool, test, f"drawn from {search_name}/, {len(test):,} test images from {test_name}/"
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
        by_class = read_classes(folder) if dataset is None else None
    except OSError as error:
        raise AdrlGymError(f"{folder} cannot be opened: {error}; one folder a class is needed") from error
    if by_class is None:
        found, named = len(set(dataset.class_to_idx.values())), ""
        samples: Samples = dataset.samples
    else:
        found, named = len(by_class), f" ({described_classes(by_class)})"
        samples = [(path, index) for index, paths in enumerate(by_class.values()) for path in paths]
    if found != classes:
        remedy = "take away those that are none" if found > classes else "add an empty folder for each class left out"
        raise AdrlGymError(
            f"{folder} has {found:,} class folders, the network {classes:,} outputs{named}: class indices are "
            f"the ranks of their names, so {remedy}",
            parameter="data_root",
        )
    if not samples:
        raise AdrlGymError(f"{folder} holds no images")
    return samples


def lazy_images(samples: Samples, preprocess: Callable[[Any], Tensor]) -> LazyImageSet:
    """The images of samples, decoded when they are asked for."""
    labels = torch.tensor([label for _, label in samples])  # (N,)
    return LazyImageSet(tuple(path for path, _ in samples), labels, partial(_read, preprocess=preprocess))


def _read(path: str, *, preprocess: Callable[[Any], Tensor]) -> Tensor:
    try:
        with Image.open(path) as picture:
            return preprocess(picture)  # (C, H, W)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise AdrlGymError(
            f"image {path} is larger than Pillow opens ({error}): shrink it, or set PIL.Image.MAX_IMAGE_PIXELS in the "
            "network's file"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise AdrlGymError(f"image {path} cannot be read ({error}): delete or replace it") from error
