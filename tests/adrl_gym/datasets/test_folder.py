"""Folders of images: the split into search and test images."""

import pytest

from adrl_gym.datasets.folder import draw_pools
from adrl_gym.errors import AdrlGymError


def test_one_image_cannot_be_searched_and_tested_on() -> None:
    with pytest.raises(AdrlGymError, match=r"cats/1\.png is the only image there, .* add more beside it"):
        draw_pools({"": [("cats/1.png", 0)]})
