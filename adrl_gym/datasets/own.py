"""A user's own images: batches, or a data set of single ones."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import SEARCH_IMAGES, Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import LoadedNetwork, Preprocessing
from adrl_gym.outputs import IGNORED

# Keys of samples that are mappings, as data sets on the Hugging Face hub have them.
_IMAGE_KEYS = ("image", "img", "pixel_values", "input_ids")
_LABEL_KEYS = ("label", "labels", "fine_label")


def own_splits(
    data: Iterable[Any] | Dataset[Any],
    images: int = SEARCH_IMAGES,
    loaded: LoadedNetwork | None = None,
    ignore_index: int = IGNORED,
) -> Splits:
    """Return the first ``images`` images (all, if there are fewer) of batches, or as many of a data set.

    Args:
        data: any iterable of batches, for example a ``DataLoader``: images ``(B, C, H, W)``, floating point and
            normalised as the network expects, or tokens ``(B, T)``, integers; and class indices ``(B,)``, integers, or
            one for each position that the network predicts, ``(B, T)`` or ``(B, H, W)``. Or a map-style ``Dataset`` of
            (image, class index): a tensor ``(C, H, W)`` likewise, or a PIL image. Of a larger data set, images are
            drawn at random, the same in every run.
        images: how many to take.
        loaded: the network, which says how PIL images are normalised.
        ignore_index: label of positions that do not count.

    Raises:
        AdrlGymError: no images, or a batch or sample of another form (the message names it and the remedy).
    """
    if images < 1:
        raise AdrlGymError(f"images={images}: at least 1 search image is needed")
    parts: list[tuple[Tensor, Tensor]] = []
    count = 0
    for where, batch in _batches(data, images, loaded):
        parts.append(_check_batch(batch, where, parts[0][0] if parts else None))
        count += len(parts[-1][0])
        if count >= images:
            break
    if count == 0:
        raise AdrlGymError("the data holds no images: at least one (images, labels) batch is needed")
    x = torch.cat([x for x, _ in parts])[:images].clone()  # (N, C, H, W)
    y = torch.cat([y for _, y in parts])[:images].clone()  # (N,)
    if y.dim() > 1:
        y = torch.where(y == ignore_index, IGNORED, y)  # (N, ...)
    return Splits(ImageSet(x, y), None, f"own data: {len(x):,} search images, no test images", "own")


def _batches(data: Any, images: int, loaded: LoadedNetwork | None) -> Iterator[tuple[str, object]]:
    """Yield the data's batches, and samples as batches of one, with their names for messages."""
    if not isinstance(data, list | tuple) and hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        # The legacy generator: NumPy promises that its stream never changes.
        order = np.random.RandomState(0).permutation(len(data)) if len(data) > images else range(len(data))
        for index in map(int, order[:images]):
            yield f"sample {index} of the data", _as_batch(data[index], f"sample {index} of the data", loaded)
        return
    for index, item in enumerate(data):
        if _is_sample(item):
            yield f"sample {index} of the data", _as_batch(item, f"sample {index} of the data", loaded)
        else:
            _refuse_normalisation(f"batch {index} of the data", loaded)
            yield f"batch {index} of the data", item


def _is_sample(item: object) -> bool:
    """Return ``True`` for an image with its label among batches, as iterable data sets yield them."""
    if not (isinstance(item, list | tuple) and len(item) == 2):
        return isinstance(item, Mapping)
    image, label = item
    return not isinstance(image, list | tuple) and (
        isinstance(label, int | np.integer) or (isinstance(label, Tensor) and label.dim() == 0)
    )


def _as_batch(item: Any, where: str, loaded: LoadedNetwork | None) -> tuple[Tensor, Tensor]:
    if isinstance(item, Mapping):
        keys = [next((key for key in names if key in item), None) for names in (_IMAGE_KEYS, _LABEL_KEYS)]
        if None in keys:
            raise AdrlGymError(f"{where} has the keys {', '.join(map(str, item))}: give pairs (image, label)")
        item = tuple(item[key] for key in keys)
    if not (isinstance(item, list | tuple) and len(item) == 2):
        raise AdrlGymError(f"{where} is no pair (image, label): {type(item).__name__}")
    image, label = item
    label = np.asarray(label) if hasattr(label, "convert") else label  # a mask as a picture
    if not isinstance(label, int | np.integer | np.ndarray | Tensor):
        raise AdrlGymError(f"{where} has a label of {type(label).__name__}: a class index is needed")
    return _tensor(image, where, loaded)[None], torch.as_tensor(
        label, dtype=None if isinstance(label, Tensor) else torch.int64
    )[None]


def _tensor(image: Any, where: str, loaded: LoadedNetwork | None) -> Tensor:
    """Return an image as the network takes it, ``(C, H, W)``."""
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image)
    if isinstance(image, Tensor):
        _refuse_normalisation(where, loaded)
        return image
    if not hasattr(image, "convert"):
        raise AdrlGymError(f"{where} is no tensor and no PIL image but {type(image).__name__}: convert it")
    if loaded is None or not loaded.says_normalisation:
        raise AdrlGymError(
            f"{where} is a PIL image, and nothing says how it is normalised: give the data set a transform to tensors, "
            "or give mean and std, or the network an attribute pretrained_cfg",
            parameter=("mean", "std"),
        )
    usual = None
    if loaded.normalisation is not None:  # of pictures as large as this one
        mean, std = loaded.normalisation
        usual = Preprocessing((len(mean), image.height, image.width), mean, std, (image.height, image.width))
    try:
        return loaded.preprocessing(usual)(image)
    except AdrlGymError:
        raise
    except (OSError, ValueError) as error:
        raise AdrlGymError(f"{where} cannot be read ({error})") from error


def _refuse_normalisation(where: str, loaded: LoadedNetwork | None) -> None:
    if loaded is not None and loaded.normalisation is not None:
        raise AdrlGymError(
            f"{where} is a tensor, which is taken as normalised: leave out mean and std, or give PIL images",
            parameter=("mean", "std"),
        )


def _check_batch(batch: object, where: str, first: Tensor | None) -> tuple[Tensor, Tensor]:
    if not (isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        raise AdrlGymError(f"{where} is no pair of tensors (images, labels): {type(batch).__name__}")
    x, y = batch
    tokens = x.dtype in (torch.int64, torch.int32) and x.dim() == 2  # (B, T)
    if not x.is_floating_point() and not tokens:
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
    if y.is_floating_point() or y.dtype == torch.bool or y.shape[:1] != (len(x),):
        raise AdrlGymError(
            f"{where} has labels of {y.dtype} and shape {tuple(y.shape)} for {len(x)} images: "
            f"one integer class index an image is needed, shape ({len(x)},)"
        )
    if not torch.isfinite(x).all():
        raise AdrlGymError(f"{where} has NaN or infinite values in its images: check their normalisation")
    x = x.detach().cpu()
    return x.long() if tokens else x.float(), y.detach().cpu().long()
