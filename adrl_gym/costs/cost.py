"""A cost that adds up over the layers: each layer's share at each bit-width."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTHS = range(1, 9)  # bit-widths that an entry is needed for


@dataclass(frozen=True)
class AdditiveCost:
    """Cost of a network's bit configurations, in whole units, so that sums and comparisons are exact.

    Attributes:
        kind: a key of ``KINDS``.
        entries: for each layer, its cost at 1 to 8 bits; it never falls from one bit-width to the next. With
            ``inputs``, so many for each bit-width of the layer's input, one after the other.
        whole: cost of the float network.
        rest: cost that no layer's bit-width changes.
        condition: words for messages on what the entries assume, for example ``activations of 8 bits``.
        inputs: for each layer, the bit-widths that its input can have, rising. Configurations then hold the bits of
            all layers' weights, and after these the bits of all layers' inputs. Empty where those are no decision.

    >>> cost = AdditiveCost("size", ((100, 200, 300), (10, 20, 30)), whole=3520)
    >>> cost.total([2, 1])
    210
    """

    kind: str
    entries: tuple[tuple[int, ...], ...]
    whole: int
    rest: int = 0
    condition: str = ""
    inputs: tuple[tuple[int, ...], ...] = ()

    def total(self, bits: Sequence[int]) -> int:
        """Return the cost of a configuration of all layers, in units."""
        if not self.inputs:
            return self.rest + sum(entry[b - 1] for entry, b in zip(self.entries, bits, strict=True))
        n = len(self.entries)
        pairs = zip(bits[:n], bits[n:], strict=True)
        return self.rest + sum(self.share(layer, weights, inputs) for layer, (weights, inputs) in enumerate(pairs))

    def share(self, layer: int, weights: int, inputs: int) -> int:
        """Return the cost of one layer at the bits of its weights and of its input, in units."""
        if not self.inputs:
            return self.entries[layer][weights - 1]
        return self.entries[layer][len(WIDTHS) * self.inputs[layer].index(inputs) + weights - 1]

    def ratio(self, bits: Sequence[int]) -> float:
        """Return the cost of a configuration of all layers over that of the float network."""
        return self.total(bits) / self.whole

    def allowed(self, limit: float) -> int:
        """Return the most units whose share of the whole is within the limit, as floats compare them.

        >>> AdditiveCost("size", ((100, 200), (10, 20)), whole=3520).allowed(0.0625)
        220
        """
        most = self.rest + sum(entry[-1] for entry in self.entries)
        limit = min(limit, max(1.0, most / self.whole))  # nothing is larger
        allowed = int(limit * self.whole)
        while allowed / self.whole > limit:
            allowed -= 1
        while (allowed + 1) / self.whole <= limit:
            allowed += 1
        return allowed
