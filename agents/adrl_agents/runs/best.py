"""The best configuration of a search so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Best:
    """A configuration and its measurements on the search images (percent, percent, nats).

    The better of two is the one that agrees more with the float network, not the one with the higher accuracy:
    among good configurations, accuracy on 1,000 images says little of accuracy on others, and agreement much.
    """

    bits: tuple[int, ...]
    accuracy: float
    agreement: float
    kl: float
    size_ratio: float

    @classmethod
    def measured(cls, info: Mapping[str, Any]) -> "Best":
        """Return what the environment says of an episode, with its last step."""
        bits = tuple(int(b) for b in info["bits"])
        return cls(bits, info["accuracy"], info["agreement"], info["kl"], info["size_ratio"])

    def beats(self, other: "Best | None") -> bool:
        """Higher agreement; at a tie lower divergence, then smaller size."""
        return other is None or rank(self) < rank(other)


class Measured(Protocol):
    """Measurements of a configuration on the search images (percent, nats)."""

    @property
    def agreement(self) -> float:
        """Share of images that get the float network's label."""

    @property
    def kl(self) -> float:
        """Divergence from the float network's prediction."""

    @property
    def size_ratio(self) -> float:
        """Size over the 32-bit size."""


def rank(measured: Measured) -> tuple[float, float, float]:
    """Return the order of configurations, the lower the better: by agreement, then divergence, then size."""
    return -measured.agreement, measured.kl, measured.size_ratio
