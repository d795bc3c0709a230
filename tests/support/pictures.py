"""Folders of pictures of noise, one folder a class."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_pictures(
    folder: Path, classes: int, each: int, size: tuple[int, int] = (16, 16), draw: np.random.Generator | None = None
) -> Path:
    """Write pictures of noise and return the folder that holds the folders of their classes.

    Args:
        folder: is made.
        classes: how many there are.
        each: number of pictures of one class.
        size: height and width in pixels.
        draw: gives the noise; without it, every call writes the same.
    """
    draw = draw or np.random.default_rng(0)
    for index in range(classes):
        (folder / f"class{index:04d}").mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)  # (H, W, 3)
            Image.fromarray(pixels).save(folder / f"class{index:04d}" / f"{number}.png")
    return folder
