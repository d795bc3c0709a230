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
from adrl_gym.datasets.layout import Classes, described_classes, described_files, find_layout, read_classes
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import Preprocessing

Samples = list[tuple[str, int]]  # path and class index of every image, in the order of their names


def folder_splits(root: str | Path, images: int, *, preprocess: Preprocessing, classes: int) -> Splits:
    """Return search images drawn from ``train/``, test images from ``test/`` or ``val/``, or halves of one folder.

    Only the search images are decoded here; test images are decoded when they are first used.

    Args:
        root: holds one folder a class, or splits that do; see ``find_layout``.
        images: how many search images; all of their split, if it has fewer.
        preprocess: from PIL images to what the network takes.
        classes: outputs of the network. Class indices are the ranks of the folders' names.

    Raises:
        AdrlGymError: no such folder, another number of classes, other classes in ``val`` than in ``train``, no images,
            an unreadable image.
    """
    root = Path(root)
    if not root.is_dir():
        raise AdrlGymError(f"there is no folder {root}: name one that holds one folder a class", parameter="data_root")
    layout = find_layout(root)
    splits = {folder: _open(folder) for folder in (layout.search, layout.test) if folder is not None}
    parts = {
        "" if folder == root else folder.name: _samples(folder, found, classes) for folder, found in splits.items()
    }
    _check_same_classes(splits)
    pool, test, origin = draw_pools(parts)
    count = min(images, len(pool))
    check_count(count, len(pool), str(root))
    return Splits(
        search=lazy_images(pool[:count], preprocess).load(),
        test=lazy_images(test, preprocess),
        source=f"folder {root.name}: {count:,} search images {origin}{layout.note(*splits.values())}",
        name="folder",
        train=rest_of(pool[count:], preprocess),
    )


def _check_same_classes(splits: dict[Path, Classes]) -> None:
    names = [set(split.paths) for split in splits.values()]
    if odd := sorted(names[0] ^ names[-1]):
        raise AdrlGymError(
            f"{' and '.join(map(str, splits))} have different class folders, {odd[0]} is in one of them alone: class "
            "indices are the ranks of the folders' names, so add an empty folder for every class that was left out"
        )


def rest_of(samples: Samples, preprocess: Preprocessing) -> Callable[[], LazyImageSet] | None:
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
    if dataset is None:
        return _samples(folder, _open(folder), classes)
    _check_count(folder, len(set(dataset.class_to_idx.values())), classes)
    samples: Samples = dataset.samples
    if not samples:
        raise AdrlGymError(f"{folder} holds no images")
    return samples


def _open(folder: Path) -> Classes:
    try:
        return read_classes(folder)
    except OSError as error:
        raise AdrlGymError(f"{folder} cannot be opened: {error}; one folder a class is needed") from error


def _samples(folder: Path, found: Classes, classes: int) -> Samples:
    """The samples of the class folders that were found in a folder, where the network has so many ``classes``."""
    _check_count(folder, len(found.paths), classes, f" ({described_classes(found.paths)})")
    samples = [(path, index) for index, paths in enumerate(found.paths.values()) for path in paths]
    if not samples:
        others = described_files(found.ignored)
        raise AdrlGymError(
            f"{folder} holds no images that Pillow reads{f', but {others}: convert them' if others else ''}",
            parameter="data_root",
        )
    return samples


def _check_count(folder: Path, found: int, classes: int, named: str = "") -> None:
    if found == classes:
        return
    remedy = "take away those that are none" if found > classes else "add an empty folder for each class left out"
    raise AdrlGymError(
        f"{folder} has {found:,} class folders, the network {classes:,} outputs{named}: class indices are "
        f"the ranks of their names, so {remedy}",
        parameter="data_root",
    )


def lazy_images(samples: Samples, preprocess: Preprocessing) -> LazyImageSet:
    """The images of samples, decoded when they are asked for."""
    labels = torch.tensor([label for _, label in samples])  # (N,)
    paths = tuple(path for path, _ in samples)
    return LazyImageSet(paths, labels, partial(_read, preprocess=preprocess), preprocess.normalised)


def _read(path: str, *, preprocess: Preprocessing) -> Tensor:
    try:
        with Image.open(path) as picture:
            return preprocess.pixels(picture)  # (C, H, W)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise AdrlGymError(
            f"image {path} is larger than Pillow opens ({error}): shrink it, or set PIL.Image.MAX_IMAGE_PIXELS in the "
            "network's file"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise AdrlGymError(f"image {path} cannot be read ({error}): delete or replace it") from error
