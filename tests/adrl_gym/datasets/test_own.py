"""A user's own batches of images."""

import pytest
import torch
from torch import Tensor

from adrl_gym.datasets.own import own_splits
from adrl_gym.errors import AdrlGymError

Batches = list[tuple[Tensor, Tensor]]


def test_own_images_are_taken_from_the_front(batches: Batches) -> None:
    splits = own_splits(iter(batches), images=150)
    assert splits.search.images.shape == (150, 3, 8, 8)
    assert splits.search.labels is not None
    assert torch.equal(splits.search.labels, torch.cat([batches[0][1], batches[1][1][:50]]))
    assert splits.test is None
    assert splits.source == "own data: 150 search images, no test images"
    assert len(own_splits(batches).search) == 300


X, Y = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "holds no images"),
        ([(X[:0], Y[:0])], "holds no images"),
        ([X], "no pair of tensors"),
        ([(X, [0, 0, 0, 0])], "no pair of tensors"),
        (
            [(X, Y), ((X * 255).to(torch.uint8), Y)],
            "batch 1 of the data has images of torch.uint8: scale them",
        ),
        ([(X, Y.float())], "labels of torch.float32"),
        ([(X, Y[:3])], r"shape \(3,\) for 4 images"),
        ([(X, Y), (X[..., :6], Y)], r"shape \(3, 8, 6\), those before have \(3, 8, 8\): resize"),
        ([(X / 0, Y)], "NaN or infinite values in its images"),
        ([(Y, Y)], "scale them to floating point"),
    ],
)
def test_own_images_that_cannot_be(batches: Batches, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        own_splits(batches)


def test_fewer_than_one_image(batches: Batches) -> None:
    with pytest.raises(AdrlGymError, match="images=0: at least 1"):
        own_splits(batches, images=0)
