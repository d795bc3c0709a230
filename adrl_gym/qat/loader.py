"""Training images in random order, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from adrl_gym.datasets import Batch, Images, augment
from adrl_gym.outputs import IGNORED


class Feed:
    """One random order of the images an epoch, cut into batches of random crops and flips.

    A last batch that is not full is left out, unless it is the only one: batch norm would give its few images as much
    weight as those of a full batch. Labels of every pixel are cropped and flipped with their image, and do not count
    beyond its border; images with other labels at positions stay whole.

    Args:
        images: of the training split.
        batch_size: images in a batch.
        mirror: whether to flip images.
    """

    def __init__(self, images: Images, batch_size: int, mirror: bool) -> None:
        self._mirror = mirror
        self._images, self._size = images, min(batch_size, len(images))

    def __len__(self) -> int:
        return len(self._images) // self._size

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """An epoch: ``(B, C, H, W)``, channels last, and labels ``(B,)`` or ``(B, H, W)``, on the CPU."""
        order = torch.randperm(len(self._images), generator=generator)[: len(self) * self._size]  # (steps B,)
        for chosen in order.split(self._size):
            images, labels = self._images.take(chosen)
            yield self._augmented(images, labels, generator)

    def _augmented(self, images: Tensor, labels: Tensor | None, generator: torch.Generator) -> Batch:
        if labels is None or labels.dim() == 1:
            return augment(images, generator, self._mirror), labels
        if images.dim() != 4 or labels.shape[1:] != images.shape[2:]:
            return images, labels
        # As one more channel, in which the zeros around an image are labels that do not count.
        channel = (labels - IGNORED)[:, None].to(images.dtype)  # (B, 1, H, W)
        joined = augment(torch.cat([images, channel], 1), generator, self._mirror)  # (B, C + 1, H, W)
        return joined[:, :-1], joined[:, -1].long() + IGNORED
