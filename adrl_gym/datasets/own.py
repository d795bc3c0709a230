"""A user's own images."""

from collections.abc import Iterable

import torch
from torch import Tensor

from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import SEARCH_IMAGES, Splits
from adrl_gym.errors import AdrlGymError


def own_splits(batches: Iterable[tuple[Tensor, Tensor]], images: int = SEARCH_IMAGES) -> Splits:
    """The first ``images`` images (all, if there are fewer) of any iterable of batches, as search images.

    Args:
        batches: for example a ``DataLoader``; each batch is images ``(B, C, H, W)``, floating point and
            normalised as the network expects, and class indices ``(B,)``, integers.
        images: how many to take.

    Raises:
        AdrlGymError: no images, or a batch of another form (the message names the batch and the remedy).
    """
    if images < 1:
        raise AdrlGymError(f"images={images}: at least 1 search image is needed")
    parts: list[tuple[Tensor, Tensor]] = []
    count = 0
    for index, batch in enumerate(batches):
        parts.append(_check_batch(batch, index, parts[0][0] if parts else None))
        count += len(parts[-1][0])
        if count >= images:
            break
    if count == 0:
        raise AdrlGymError("the data holds no images: at least one (images, labels) batch is needed")
    x = torch.cat([x for x, _ in parts])[:images].clone()  # (N, C, H, W)
    y = torch.cat([y for _, y in parts])[:images].clone()  # (N,)
    return Splits(ImageSet(x, y), None, f"own data: {len(x):,} search images, no test images", "own")


def _check_batch(batch: object, index: int, first: Tensor | None) -> tuple[Tensor, Tensor]:
    where = f"batch {index} of the data"
    if not (isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        raise AdrlGymError(f"{where} is no pair of tensors (images, labels): {type(batch).__name__}")
    x, y = batch
    if not x.is_floating_point():
        raise AdrlGymError(
            f"{where} has images of {x.dtype}: scale them to floating point and normalise them as in training"
        )
    if x.dim() < 2:
        raise AdrlGymError(f"{where} has images of shape {tuple(x.shape)}: a batch (B, C, H, W) is needed")
    if first is not None and x.shape[1:] != first.shape[1:]:
        raise AdrlGymError(
            f"{where} has images of shape {tuple(x.shape[1:])}, those before have {tuple(first.shape[1:])}: "
            "resize or crop them to one shape"
        )
    if y.is_floating_point() or y.dtype == torch.bool or y.shape != (len(x),):
        raise AdrlGymError(
            f"{where} has labels of {y.dtype} and shape {tuple(y.shape)} for {len(x)} images: "
            f"one integer class index an image is needed, shape ({len(x)},)"
        )
    if not torch.isfinite(x).all():
        raise AdrlGymError(f"{where} has NaN or infinite values in its images: check their normalisation")
    return x.detach().cpu().float(), y.detach().cpu().long()
