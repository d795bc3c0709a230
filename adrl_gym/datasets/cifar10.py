"""CIFAR-10 through torchvision, in three disjoint splits."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import CIFAR10
from adrl_gym.vision import import_torchvision

CIFAR10_FOLDER = "cifar-10-batches-py"
TRAIN_IMAGES = 45_000  # of the 50,000 training images; the other 5,000 are the search split


def normalise(images: np.ndarray) -> torch.Tensor:
    """uint8 ``(N, 32, 32, 3)`` to normalised float32 ``(N, 3, 32, 32)``."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255  # (N, 3, 32, 32)
    mean, std = torch.tensor(CIFAR10.mean), torch.tensor(CIFAR10.std)
    return ((x - mean[:, None, None]) / std[:, None, None]).contiguous()


def load_cifar10(root: str | Path, split: str, *, download: bool = False) -> ImageSet:
    """One split of CIFAR-10: ``train`` (45,000), ``search`` (5,000) or ``test`` (10,000 images).

    Train and search images are a fixed permutation of the official training images, so that any
    number of first images is a random draw. The test split keeps the official order.

    Raises:
        AdrlGymError: the folder is missing, incomplete or corrupted; the download fails.
    """
    datasets = import_torchvision().datasets
    try:
        data = datasets.CIFAR10(str(root), train=split != "test", download=download)
    except (RuntimeError, OSError) as error:  # torchvision checks the MD5 sum of every file
        if download:
            raise AdrlGymError(
                f"CIFAR-10 could not be downloaded into {root} ({error}): check network and folder "
                f"or unpack cifar-10-python.tar.gz from elsewhere so that {Path(root) / CIFAR10_FOLDER} exists"
            ) from error
        raise AdrlGymError(
            f"CIFAR-10 in {Path(root) / CIFAR10_FOLDER} is missing, incomplete or corrupted: delete that folder and "
            "download it again, or name the folder that holds a complete one",
            parameter=("download", "data_root"),
        ) from error
    images, labels = data.data, np.asarray(data.targets)
    if split != "test":
        # The legacy generator: NumPy promises that its stream never changes, so neither do the splits.
        order = np.random.RandomState(0).permutation(len(images))
        chosen = order[:TRAIN_IMAGES] if split == "train" else order[TRAIN_IMAGES:]
        images, labels = images[chosen], labels[chosen]
    return ImageSet(normalise(images), torch.from_numpy(labels).long())


def cifar10_splits(root: str | Path, images: int, *, download: bool = False) -> Splits:
    """The first ``images`` of the search split, the test split, and the train split when it is asked for.

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
