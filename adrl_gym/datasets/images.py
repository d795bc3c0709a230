"""Sets of images: held as one tensor, or read from disk batch by batch."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from adrl_gym.models import content_hash
from adrl_gym.outputs import IGNORED

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


@dataclass(frozen=True)
class LazyImageSet:
    """Images that stay on disk until their batch is asked for: 50,000 of 224x224 would take 30 GB.

    Attributes:
        paths: one image file each, or whatever ``read`` takes.
        labels: int64, ``(N,)``, class indices.
        read: makes the tensor ``(C, H, W)`` of one of them.
    """

    paths: tuple[Any, ...]
    labels: Tensor
    read: Callable[[Any], Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, ``size`` at a time; ``(B, C, H, W)`` and ``(B,)``. Threads decode them."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self), size):
                images = torch.stack(list(pool.map(self.read, self.paths[start : start + size])))  # (B, C, H, W)
                yield images, self.labels[start : start + size]

    def take(self, indices: Tensor) -> Batch:
        """See ``Images``. Threads decode them."""
        with ThreadPoolExecutor() as pool:
            images = torch.stack(list(pool.map(self.read, (self.paths[index] for index in indices))))  # (B, C, H, W)
        return images, self.labels[indices]

    def load(self) -> ImageSet:
        """All images in memory."""
        images, _ = next(self.batches(len(self)))
        return ImageSet(images, self.labels)
