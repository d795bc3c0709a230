"""Image sets and their batches."""

import torch

from adrl_gym.datasets.images import ImageSet


def test_batches_cover_all_images_in_order() -> None:
    images = ImageSet(torch.randn(7, 3, 2, 2), torch.arange(7))
    parts = list(images.batches(3))
    assert [len(x) for x, _ in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([x for x, _ in parts]), images.images)
    assert torch.equal(torch.cat([y for _, y in parts if y is not None]), torch.arange(7))
    assert all(y is None for _, y in ImageSet(images.images, None).batches(3))
