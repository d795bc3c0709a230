"""Training images in random order, batch by batch."""

from collections.abc import Iterator

import torch

from adrl_gym.datasets import Batch, Images, augment


class Feed:
    """One random order of the images an epoch, cut into batches of random crops and flips.

    A last batch that is not full is left out, unless it is the only one: batch norm would give its few images as much
    weight as those of a full batch.

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
        """An epoch: ``(B, C, H, W)``, channels last, and labels ``(B,)``, on the CPU."""
        order = torch.randperm(len(self._images), generator=generator)[: len(self) * self._size]  # (steps B,)
        for chosen in order.split(self._size):
            images, labels = self._images.take(chosen)
            yield augment(images, generator, self._mirror), labels
