"""Batches that a whole network runs on at a time."""

from math import prod

from torch import Tensor

_PIXELS = 2**18  # activations of more pixels fall out of the processor's cache: up to four times as long an image


def batches(images: Tensor, most: int) -> tuple[Tensor, ...]:
    """Split images ``(N, C, H, W)`` into batches: of ``most`` images up to 32 x 32 pixels, of 5 at 224 x 224.

    Args:
        images: or any other input, whose second axis is not counted.
        most: images in a batch, at least 2; the least is 2 as well.
    """
    return images.split(max(2, min(most, _PIXELS // max(1, prod(images.shape[2:])))))
