"""A cost that adds up over the layers: each layer's share at each bit-width."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTHS = range(1, 9)  # bit-widths that an entry is needed for

#: The float network's whole that each kind is a share of, as messages call it.
_WHOLES = {"size": "32-bit size"}


@dataclass(frozen=True)
class AdditiveCost:
    """AdditiveCost of a network's bit configurations, in whole units, so that sums and comparisons are exact.

    Attributes:
        kind: ``size``.
        entries: for each layer, its cost at 1 to 8 bits; it never falls from one bit-width to the next.
        whole: cost of the float network.

    >>> cost = AdditiveCost("size", ((100, 200, 300), (10, 20, 30)), whole=3520)
    >>> cost.total([2, 1])
    210
    """

    kind: str
    entries: tuple[tuple[int, ...], ...]
    whole: int

    @property
    def whole_name(self) -> str:
        """What a limit is a share of, for messages."""
        return _WHOLES[self.kind]

    def total(self, bits: Sequence[int]) -> int:
        """Return the cost of a configuration of all layers, in units."""
        return sum(entry[b - 1] for entry, b in zip(self.entries, bits, strict=True))

    def ratio(self, bits: Sequence[int]) -> float:
        """Return the cost of a configuration of all layers over that of the float network."""
        return self.total(bits) / self.whole

    def allowed(self, limit: float) -> int:
        """Return the most units whose share of the whole is within the limit, as floats compare them.

        >>> AdditiveCost("size", ((100, 200), (10, 20)), whole=3520).allowed(0.0625)
        220
        """
        limit = min(limit, 1.0)  # nothing is larger
        allowed = int(limit * self.whole)
        while allowed / self.whole > limit:
            allowed -= 1
        while (allowed + 1) / self.whole <= limit:
            allowed += 1
        return allowed
