"""The data-free set: images distilled from a checkpoint, so that everything runs without any download."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adrl_gym.data.images import ImageSet
from adrl_gym.data.splits import Splits, check_count
from adrl_gym.errors import AdrlGymError

FOLDER = Path(__file__).parent / "datafree"


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
    # Channels first: a channel's levels are more alike, and pack better, than an image's.
    np.savez_compressed(
        path, levels=levels.transpose(0, 1).numpy(), low=low.numpy(), step=step.numpy(), checkpoint=np.array(checkpoint)
    )


def load_datafree(path: Path, checkpoint: str) -> ImageSet:
    """The images of a file, without labels; float32 ``(N, C, H, W)``.

    Raises:
        AdrlGymError: no such file, or it was distilled from another checkpoint.
    """
    if not path.is_file():
        raise AdrlGymError(f"there is no data-free set {path}: give real images (--data, --data-root)")
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    if str(content["checkpoint"]) != checkpoint:
        raise AdrlGymError(
            f"the data-free set {path.name} was distilled from checkpoint {str(content['checkpoint'])[:12]}, "
            f"the weights in use are {checkpoint[:12]}: give real images (--data, --data-root)"
        )
    low, step = (torch.from_numpy(content[name])[:, None, None] for name in ("low", "step"))  # (C, 1, 1) each
    levels = torch.from_numpy(content["levels"]).transpose(0, 1)  # (N, C, H, W)
    return ImageSet((low + step * levels.float()).contiguous(), None)


def datafree_splits(network: str, images: int, checkpoint: str) -> Splits:
    """The first ``images`` of the set that ships for a named network; no test split, no labels.

    Raises:
        AdrlGymError: see ``load_datafree``; more images asked for than the set has.
    """
    path = FOLDER / f"{network}.npz"
    full = load_datafree(path, checkpoint)
    check_count(images, len(full), f"the data-free set of {network}")
    return Splits(
        search=ImageSet(full.images[:images].clone(), None),
        test=None,
        source=f"data-free set of {network}: {images:,} images distilled from the checkpoint, no test images",
        name="data-free",
        hint="for real images, add --download, or --data-root FOLDER with cifar-10-batches-py in it",
    )
