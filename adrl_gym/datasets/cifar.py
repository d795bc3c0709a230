"""CIFAR-10 and CIFAR-100 through torchvision, in three disjoint splits."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adrl_gym.datasets.images import Images, ImageSet, LazyImageSet
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import CIFAR10, CIFAR100, Preprocessing
from adrl_gym.vision import import_torchvision

TRAIN_IMAGES = 45_000  # of the 50,000 training images; the other 5,000 are the search split


@dataclass(frozen=True)
class CifarSet:
    """One of the two data sets.

    Attributes:
        name: as options have it.
        title: for people; torchvision's class without the hyphen.
        folder: that torchvision unpacks it into.
        archive: that it comes in.
        classes: of its images.
        usual: its pictures' size, mean and standard deviation.
    """

    name: str
    title: str
    folder: str
    archive: str
    classes: int
    usual: Preprocessing


CIFAR = {
    of.name: of
    for of in (
        CifarSet("cifar10", "CIFAR-10", "cifar-10-batches-py", "cifar-10-python.tar.gz", 10, CIFAR10),
        CifarSet("cifar100", "CIFAR-100", "cifar-100-python", "cifar-100-python.tar.gz", 100, CIFAR100),
    )
}
CIFAR10_FOLDER = CIFAR["cifar10"].folder


def normalise(images: np.ndarray, preprocess: Preprocessing = CIFAR10) -> Tensor:
    """Turn uint8 ``(N, 32, 32, 3)`` into normalised float32 ``(N, 3, 32, 32)``."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255  # (N, 3, 32, 32)
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    return ((x - mean[:, None, None]) / std[:, None, None]).contiguous()


def load_cifar10(root: str | Path, split: str, *, download: bool = False) -> ImageSet:
    """Return one split of CIFAR-10: ``train`` (45,000), ``search`` (5,000) or ``test`` (10,000 images).

    Train and search images are a fixed permutation of the official training images, so that any
    number of first images is a random draw. The test split keeps the official order.

    Raises:
        AdrlGymError: the folder is missing, incomplete or corrupted; the download fails.
    """
    pixels, labels = _read(CIFAR["cifar10"], root, split, download)
    return ImageSet(normalise(pixels), labels)


def cifar10_splits(root: str | Path, images: int, *, download: bool = False) -> Splits:
    """Return the first ``images`` of the search split, the test split, and the train split when it is asked for.

    Raises:
        AdrlGymError: see ``load_cifar10``; ``images`` outside 1 to 5,000.
    """
    search = load_cifar10(root, "search", download=download)
    check_count(images, len(search), "CIFAR-10")
    test = load_cifar10(root, "test")
    assert search.labels is not None
    return Splits(
        # A copy: a slice would drag all 5,000 images along when it is pickled.
        search=ImageSet(search.images[:images].clone(), search.labels[:images].clone()),
        test=test,
        source=f"CIFAR-10: {images:,} search images held out of training, {len(test):,} test images",
        name="cifar10",
        train=partial(load_cifar10, root, "train"),
    )


def own_cifar_splits(
    of: CifarSet, root: str | Path, images: int, *, preprocess: Preprocessing, classes: int, download: bool = False
) -> Splits:
    """Return the splits of ``cifar10_splits`` for a network of one's own, which may have seen the search images.

    Args:
        of: the data set.
        root: its folder, or the one to download it to.
        images: how many search images.
        preprocess: what the network takes.
        classes: outputs of the network.
        download: leave to fetch it.

    Raises:
        AdrlGymError: see ``load_cifar10``; ``images`` outside 1 to 5,000; a network of other outputs.
    """
    if classes != of.classes:
        raise AdrlGymError(
            f"the network has {classes:,} outputs, and {of.title} {of.classes} classes: take the network that was "
            "trained on it, or other data",
            parameter=("network", "data"),
        )
    pixels, labels = _read(of, root, "search", download)
    check_count(images, len(pixels), of.title)
    said = f"{of.title}: {images:,} of the training images to search on, {{:,}} test images"
    if preprocess.shape != of.usual.shape:
        said += f", as {' x '.join(map(str, preprocess.shape))}"
    search = _prepared(pixels[:images], labels[:images].clone(), preprocess)
    test = _load(of, root, preprocess, "test")
    return Splits(
        search=search.load() if isinstance(search, LazyImageSet) else search,
        test=test,
        source=said.format(len(test)),
        name=of.name,
        train=partial(_load, of, root, preprocess, "train"),
    )


def _load(of: CifarSet, root: str | Path, preprocess: Preprocessing, split: str) -> Images:
    return _prepared(*_read(of, root, split, download=False), preprocess)


def _prepared(pixels: np.ndarray, labels: Tensor, preprocess: Preprocessing) -> ImageSet | LazyImageSet:
    """Return images that are only normalised in memory, and those that are resized as they are asked for."""
    if preprocess.shape == (3, 32, 32) and preprocess.resize == (32, 32):
        return ImageSet(normalise(pixels, preprocess), labels)
    return LazyImageSet(tuple(range(len(pixels))), labels, partial(_picture, pixels, preprocess))


def _picture(pixels: np.ndarray, preprocess: Preprocessing, index: int) -> Tensor:
    picture: Any = import_torchvision().transforms.functional.to_pil_image(pixels[index])
    return preprocess(picture)  # (C, H, W)


def _read(of: CifarSet, root: str | Path, split: str, download: bool) -> tuple[np.ndarray, Tensor]:
    """Return pixels uint8 ``(N, 32, 32, 3)`` and class indices ``(N,)`` of a split."""
    kind = getattr(import_torchvision().datasets, of.title.replace("-", ""))
    try:
        data = kind(str(root), train=split != "test", download=download)
    except (RuntimeError, OSError) as error:  # torchvision checks the MD5 sum of every file
        if download:
            raise AdrlGymError(
                f"{of.title} could not be downloaded into {root} ({error}): check network and folder "
                f"or unpack {of.archive} from elsewhere so that {Path(root) / of.folder} exists"
            ) from error
        raise AdrlGymError(
            f"{of.title} in {Path(root) / of.folder} is missing, incomplete or corrupted: delete that folder and "
            "download it again, or name the folder that holds a complete one",
            parameter=("download", "data_root"),
        ) from error
    images, labels = data.data, np.asarray(data.targets)
    if split != "test":
        # The legacy generator: NumPy promises that its stream never changes, so neither do the splits.
        order = np.random.RandomState(0).permutation(len(images))
        chosen = order[:TRAIN_IMAGES] if split == "train" else order[TRAIN_IMAGES:]
        images, labels = images[chosen], labels[chosen]
    return images, torch.from_numpy(labels).long()
