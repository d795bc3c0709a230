"""Image sets and their batches."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from adrl_gym.datasets.folder import lazy_images
from adrl_gym.datasets.images import ImageSet, LazyImageSet
from adrl_gym.models.preprocessing import Preprocessing

COLOUR = Preprocessing((3, 12, 10), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (14, 12), interpolation="bicubic")


def test_batches_cover_all_images_in_order() -> None:
    images = ImageSet(torch.randn(7, 3, 2, 2), torch.arange(7))
    parts = list(images.batches(3))
    assert [len(x) for x, _ in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([x for x, _ in parts]), images.images)
    assert torch.equal(torch.cat([y for _, y in parts if y is not None]), torch.arange(7))
    assert all(y is None for _, y in ImageSet(images.images, None).batches(3))


@pytest.fixture
def samples(tmp_path: Path) -> list[tuple[str, int]]:
    """Five pictures in colour, in grey, and in grey of 16 bits."""
    draw = np.random.default_rng(0)
    made = [draw.integers(0, 256, (20 + n, 17, 3), dtype=np.uint8) for n in range(3)]
    made += [draw.integers(0, 256, (19, 23), dtype=np.uint8), draw.integers(0, 65_536, (18, 18), dtype=np.uint16)]
    for number, pixels in enumerate(made):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return [(str(tmp_path / f"{number}.png"), number) for number in range(len(made))]


def plain(path: str) -> Tensor:
    """One image as the transforms of torchvision make it, one after the other."""
    transforms = pytest.importorskip("torchvision").transforms.functional
    with Image.open(path) as opened:
        picture: Any = opened
        deep = picture.mode[0] == "I"
        picture = Image.fromarray(np.array(picture).astype(np.float32) / 65_535) if deep else picture.convert("RGB")
        picture = transforms.resize(picture, COLOUR._resized(*picture.size), transforms.InterpolationMode("bicubic"))
        x = transforms.to_tensor(transforms.center_crop(picture, [12, 10])).expand(3, -1, -1)  # (3, 12, 10)
        return transforms.normalize(x, list(COLOUR.mean), list(COLOUR.std))


@pytest.mark.parametrize("kept_bytes", [2**30, 0, 800])
def test_images_are_decoded_once_and_are_what_they_were_bit_for_bit(
    samples: list[tuple[str, int]], kept_bytes: int
) -> None:
    expected = torch.stack([plain(path) for path, _ in samples])
    folder, read = lazy_images(samples, COLOUR), list[str]()

    def decode(path: str) -> Tensor:
        read.append(path)
        return folder.read(path)

    images = LazyImageSet(folder.paths, folder.labels, decode, folder.normalise, kept_bytes)
    for _ in range(2):
        assert torch.equal(torch.cat([x for x, _ in images.batches(2)]), expected)
    assert torch.equal(images.take(torch.tensor([4, 0, 4]))[0], expected[[4, 0, 4]])
    once = {2**30: 5, 0: 0, 800: 2}[kept_bytes]  # 3 * 12 * 10 bytes each, four times as many of 16 bits
    assert len(read) == 5 + (5 - once) + (2 if once == 0 else 1 if once == 2 else 0)
    assert torch.equal(images.load().images, expected)


def test_kept_images_are_uint8_and_stay_in_their_process(samples: list[tuple[str, int]]) -> None:
    images = lazy_images(samples[:4], COLOUR)
    first = next(images.batches(4))[0]
    assert {image.dtype for image in images._kept.images.values()} == {torch.uint8}
    copy = pickle.loads(pickle.dumps(images))
    assert not copy._kept.images
    assert torch.equal(next(copy.batches(4))[0], first)
