"""The data-free set: images distilled from a checkpoint, so that everything runs without any download."""

import io
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

DATAFREE_FOLDER = Path(__file__).parent / "datafree"


def save_datafree(path: Path, levels: Tensor, low: Tensor, step: Tensor, checkpoint: str) -> None:
    """Write images as ``low + step * levels``.

    Args:
        path: an ``.npz`` file.
        levels: uint8, ``(N, C, H, W)``.
        low: what level 0 stands for in each channel; float32, ``(C,)``.
        step: from one level to the next; float32, ``(C,)``.
        checkpoint: content hash of the checkpoint that they were distilled from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    # Channels first: a channel's levels are more alike, and pack better, than an image's.
    packed = levels.transpose(0, 1).numpy()
    np.savez_compressed(content, levels=packed, low=low.numpy(), step=step.numpy(), checkpoint=np.array(checkpoint))
    write_whole(path, content.getvalue())


def load_datafree(path: Path, checkpoint: str) -> ImageSet:
    """The images of a file, without labels; float32 ``(N, C, H, W)``.

    Raises:
        AdrlGymError: no such file, a damaged one, or it was distilled from another checkpoint.
    """
    if not path.is_file():
        raise AdrlGymError(
            f"there is no data-free set {path}: distil one, or give real images", parameter=("data", "data_root")
        )
    try:
        with np.load(path) as file:  # arrays of numbers alone: nothing in it can run code
            content = {name: file[name] for name in ("levels", "low", "step", "checkpoint")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AdrlGymError(f"{path} is no whole data-free set ({error}): distil it again") from error
    if str(content["checkpoint"]) != checkpoint:
        raise AdrlGymError(
            f"the data-free set {path.name} was distilled from checkpoint {str(content['checkpoint'])[:12]}, "
            f"the weights in use are {checkpoint[:12]}: distil one of these, or give real images",
            parameter=("data", "data_root"),
        )
    low, step = (torch.from_numpy(content[name])[:, None, None] for name in ("low", "step"))  # (C, 1, 1) each
    levels = torch.from_numpy(content["levels"]).transpose(0, 1)  # (N, C, H, W)
    return ImageSet((low + step * levels.float()).contiguous(), None)


def shipped_splits(network: str, images: int, checkpoint: str) -> Splits:
    """The first ``images`` of the set that ships for a named network; no test split, no labels.

    Raises:
        AdrlGymError: see ``load_datafree``; more images asked for than the set has.
    """
    path = DATAFREE_FOLDER / f"{network}.npz"
    full = load_datafree(path, checkpoint)
    check_count(images, len(full), f"the data-free set of {network}")
    return _splits(full, images, path, checkpoint, f"data-free set of {network}")


def distilled_splits(path: Path, images: int, checkpoint: str) -> Splits:
    """The first ``images`` (all, if there are fewer) of a set that was distilled here; no test split, no labels.

    Raises:
        AdrlGymError: see ``load_datafree``; fewer than 1 image asked for.
    """
    full = load_datafree(path, checkpoint)
    check_count(min(images, len(full)), len(full), str(path))
    return _splits(full, min(images, len(full)), path, checkpoint, f"data-free set {path.name}")


def _splits(full: ImageSet, images: int, path: Path, checkpoint: str, which: str) -> Splits:
    return Splits(
        search=ImageSet(full.images[:images].clone(), None),
        test=None,
        source=f"{which}: {images:,} images distilled from the checkpoint, no test images",
        name="data-free",
        train=partial(load_datafree, path, checkpoint),
    )
