"""ImageNet from a folder: torchvision's layout, or any ImageFolder with ``val/``."""

from pathlib import Path

from adrl_gym.datasets.folder import Samples, draw_pools, lazy_images, read_samples, rest_of
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import Preprocessing
from adrl_gym.vision import import_torchvision

META = (
    "meta.bin",
    "ILSVRC2012_devkit_t12.tar.gz",
)  # either marks a folder that torchvision's ImageNet can open


def is_imagenet(root: Path) -> bool:
    """Return whether the folder looks like ImageNet: it has ``val/``, or the official archives."""
    return (root / "val").is_dir() or any((root / name).exists() for name in META)


def imagenet_splits(root: str | Path, images: int, *, preprocess: Preprocessing, classes: int) -> Splits:
    """Search images drawn from ``train/`` where it exists, else from one half of ``val/``; test images are the others.

    Args:
        root: holds ``val/`` and perhaps ``train/``, with one folder a class.
        images: how many search images.
        preprocess: from PIL images to what the network takes.
        classes: outputs of the network. Class indices are the ranks of the folders' names, so exactly as
            many folders are needed (folders of classes without images may be empty).

    Raises:
        AdrlGymError: no such folder, another number of classes, too few images, an unreadable image.
    """
    root = Path(root)
    if not is_imagenet(root):
        raise AdrlGymError(
            f"no ImageNet in {root}: name a folder that holds val/ with one folder a class", parameter="data_root"
        )
    names = ("train", "val") if (root / "train").is_dir() else ("val",)
    pool, test, origin = draw_pools({name: _samples(root, name, classes) for name in names})
    check_count(images, len(pool), f"{root}/{names[0]}")
    return Splits(
        search=lazy_images(pool[:images], preprocess).load(),
        test=lazy_images(test, preprocess),
        source=f"ImageNet: {images:,} search images {origin}",
        name="imagenet",
        train=rest_of(pool[images:], preprocess),
    )


def _samples(root: Path, split: str, classes: int) -> Samples:
    """Path and class index of every image of a split."""
    if not any((root / name).exists() for name in META):
        return read_samples(root / split, classes)
    try:
        dataset = import_torchvision().datasets.ImageNet(str(root), split, allow_empty=True)
    except (OSError, RuntimeError, ImportError) as error:
        raise AdrlGymError(f"ImageNet in {root} cannot be opened: {error}") from error
    return read_samples(root / split, classes, dataset)
