"""Sets of images: held as one tensor, or read from disk batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from adrl_gym.models import content_hash
from adrl_gym.outputs import IGNORED

KEPT_BYTES = 2**30  # of decoded images that a set keeps; 7,000 of 3 x 224 x 224
Batch = tuple[Tensor, Tensor | None]  # images (B, C, H, W); labels (B,) where they are known


class Images(Protocol):
    """Interface of a split: its length, its labels, and its images batch by batch."""

    @property
    def labels(self) -> Tensor | None:
        """Class indices, int64, ``(N,)``; ``None`` where the truth is unknown."""

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, ``size`` at a time (the last batch may be smaller)."""

    def take(self, indices: Tensor) -> Batch:
        """The images and labels at ``indices`` ``(B,)``."""


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels, in the form the network takes them.

    Attributes:
        images: float32, ``(N, C, H, W)``, normalised; or tokens, int64 ``(N, T)``.
        labels: int64, ``(N,)``, class indices, or of every position ``(N, T)`` or ``(N, H, W)``, -100 where it does not
            count; ``None`` where the truth is unknown (data-free set).
    """

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def per_image(self) -> float:
        """Predictions of an image in the mean: 1, or those of its positions that are not ignored."""
        if self.labels is None or self.labels.dim() == 1:
            return 1.0
        return int((self.labels != IGNORED).sum()) / len(self)

    @property
    def hash(self) -> str:
        """Content hash of images and labels, 64 hexadecimal digits."""
        return content_hash({"images": self.images} | ({} if self.labels is None else {"labels": self.labels}))

    def first(self, count: int) -> "ImageSet":
        """The first ``count`` images (all, if there are fewer)."""
        return ImageSet(self.images[:count], None if self.labels is None else self.labels[:count])

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, ``size`` at a time; ``(B, C, H, W)`` and ``(B,)``."""
        for start in range(0, len(self), size):
            labels = None if self.labels is None else self.labels[start : start + size]
            yield self.images[start : start + size], labels

    def take(self, indices: Tensor) -> Batch:
        """See ``Images``."""
        return self.images[indices], None if self.labels is None else self.labels[indices]


class _KeptImages:
    """Decoded images of a set, by index."""

    def __init__(self) -> None:
        self.images: dict[int, Tensor] = {}  # (C, H, W) each
        self._bytes = 0

    def add(self, index: int, image: Tensor, most_bytes: int) -> None:
        """Keep an image if there is room for it."""
        size = image.numel() * image.element_size()
        if index not in self.images and self._bytes + size <= most_bytes:
            self.images[index] = image
            self._bytes += size

    def __reduce__(self) -> tuple[type["_KeptImages"], tuple[()]]:
        return _KeptImages, ()


def _as_it_is(images: Tensor) -> Tensor:
    return images


@dataclass(frozen=True)
class LazyImageSet:
    """Images that stay on disk until their batch is asked for: 50,000 of 224x224 would take 30 GB as float32.

    Each is decoded once, by several threads, and its pixels are kept as they are, up to a number of bytes; those
    beyond it are decoded again at every use. A copy in another process starts with none.

    Attributes:
        paths: one image file each, or whatever ``read`` takes.
        labels: int64, ``(N,)``, class indices.
        read: makes the tensor ``(C, H, W)`` of one of them; what it returns is kept.
        normalise: makes float32 ``(B, C, H, W)`` of a batch of them; ``None`` where ``read`` has done so.
        kept_bytes: most bytes to keep.
    """

    paths: tuple[Any, ...]
    labels: Tensor
    read: Callable[[Any], Tensor]
    normalise: Callable[[Tensor], Tensor] | None = None
    kept_bytes: int = KEPT_BYTES
    _kept: "_KeptImages" = field(default_factory=lambda: _KeptImages(), init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, ``size`` at a time; ``(B, C, H, W)`` and ``(B,)``. Threads decode them."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self), size):
                indices = range(start, min(start + size, len(self)))
                yield self._images(indices, pool), self.labels[start : start + size]

    def take(self, indices: Tensor) -> Batch:
        """See ``Images``. Threads decode them."""
        with ThreadPoolExecutor() as pool:
            images = self._images(indices.tolist(), pool)  # (B, C, H, W)
        return images, self.labels[indices]

    def _images(self, indices: Sequence[int], pool: ThreadPoolExecutor) -> Tensor:
        """Return ``(B, C, H, W)``; pixels that are not kept are decoded."""
        missing = [index for index in dict.fromkeys(indices) if index not in self._kept.images]
        decoded = dict(zip(missing, pool.map(self.read, (self.paths[index] for index in missing)), strict=True))
        for index, image in decoded.items():
            self._kept.add(index, image, self.kept_bytes)
        images = [decoded[index] if index in decoded else self._kept.images[index] for index in indices]
        normalise = self.normalise or _as_it_is
        if len({image.dtype for image in images}) > 1:  # some have 16 bits a pixel
            return torch.stack([normalise(image) for image in images])  # (B, C, H, W)
        return normalise(torch.stack(images))  # (B, C, H, W)

    def load(self) -> ImageSet:
        """All images in memory."""
        images, _ = next(self.batches(len(self)))
        return ImageSet(images, self.labels)
