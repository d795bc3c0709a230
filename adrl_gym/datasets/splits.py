"""The splits that a search works with."""

from collections.abc import Callable
from dataclasses import dataclass

from adrl_gym.datasets.images import Images, ImageSet
from adrl_gym.errors import AdrlGymError

SEARCH_IMAGES = 1000  # by default


@dataclass(frozen=True)
class Splits:
    """Images to search on and, where there are any, images to report and to train on. They never overlap.

    Attributes:
        search: every reward of a search is measured on these.
        test: only reported numbers are measured on these; ``None`` where there are none.
        source: one line for people: which data, how many images.
        name: ``cifar10``, ``imagenet``, ``data-free``, ``folder`` or ``own``.
        train: gives the images to finetune on, none of which is in the other two; for a data-free set, all of it.
            ``None`` where there are none.
    """

    search: ImageSet
    test: Images | None
    source: str
    name: str = "own"
    train: Callable[[], Images] | None = None


def check_count(images: int, available: int, where: str) -> None:
    """Refuse a number of search images that ``where`` cannot give.

    Raises:
        AdrlGymError: fewer than 1, or more than ``available``.
    """
    if not 1 <= images <= available:
        raise AdrlGymError(f"images={images}: {where} has 1 to {available:,} search images to choose from")
