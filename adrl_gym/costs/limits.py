"""The limits of a budget, and HAQ's action wall, which brings a configuration within them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from adrl_gym.bits import NONE_KEPT
from adrl_gym.costs.budget import KINDS
from adrl_gym.costs.cost import AdditiveCost
from adrl_gym.errors import AdrlGymError


class Limits:
    """Largest costs of a network's bit configurations.

    Args:
        budget: pairs of a cost and the largest share of the float network's that it may be.
        min_bits: no searched layer goes below.
        kept: position in a configuration -> bits that it has whatever is asked, and that it never gives.

    Attributes:
        costs: those limited, in the order given.
        allowed: largest total of each, in its units.

    Raises:
        AdrlGymError: no configuration meets the budget; says the smallest possible.

    >>> from adrl_gym.costs import size_cost
    >>> Limits([(size_cost([100, 100]), 0.1)], min_bits=1).project([4, 4])
    (3, 3)
    >>> Limits([(size_cost([100, 100]), 0.1)], min_bits=1, kept={1: 4}).project([4, 4])
    (2, 4)
    """

    def __init__(
        self, budget: Sequence[tuple[AdditiveCost, float]], min_bits: int, kept: Mapping[int, int] = NONE_KEPT
    ) -> None:
        self.costs = tuple(cost for cost, _ in budget)
        self.min_bits, self.kept = min_bits, kept
        n, self._inputs = len(self.costs[0].entries), self.costs[0].inputs
        steps = [(i, n + i) if self._inputs else (i,) for i in range(n)]
        self._order = [place for step in steps for place in step]  # of the decisions
        self._lowest = [min_bits] * n + [own[0] for own in self._inputs]
        if impossible := [text for cost, limit in budget if (text := self._impossible(cost, limit))]:
            raise AdrlGymError(f"no configuration meets {', and none '.join(impossible)}", parameter="budget")
        self.allowed = tuple(cost.allowed(limit) for cost, limit in budget)

    def fits(self, bits: Sequence[int]) -> bool:
        """Return whether a configuration of all layers is within every limit."""
        return min(self._left(bits)) >= 0

    def ratios(self, bits: Sequence[int]) -> dict[str, float]:
        """Return, for each kind that is limited, the cost of a configuration over the float network's."""
        return {cost.kind: cost.ratio(bits) for cost in self.costs}

    def capacity(self, layers: Sequence[int], max_bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what some layers' bits take of each limit, and what the others at their kept bits leave of it.

        Args:
            layers: indices of all that are not kept.
            max_bits: the largest bit-width asked for.

        Returns:
            int64 ``(limits, n, widths)`` and ``(limits,)``, both in the costs' units.
        """
        taken = [[cost.entries[index][self.min_bits - 1 : max_bits] for index in layers] for cost in self.costs]
        fixed = [cost.rest + sum(cost.entries[index][b - 1] for index, b in self.kept.items()) for cost in self.costs]
        return np.array(taken, np.int64), np.array(self.allowed, np.int64) - np.array(fixed, np.int64)

    def full(self, bits: Sequence[int]) -> bool:
        """Return whether a configuration of all layers leaves nothing of some limit."""
        return min(self._left(bits)) <= 0

    def project(self, bits: Sequence[int]) -> tuple[int, ...]:
        """HAQ's action wall: take bits away until the configuration is within every limit.

        From the last layer backwards every layer gives one bit, round after round, and it stops as soon as the
        configuration fits. One that fits is left alone. Where activations are searched, a layer gives a bit of its
        input and then one of its weights. Source: HAQ, section 3.3, and its ``_final_action_wall``.

        Args:
            bits: a configuration.
        """
        projected = [self.kept.get(index, b) for index, b in enumerate(bits)]
        n = len(self.costs[0].entries)
        left = self._left(projected)
        while min(left) < 0:
            for index in reversed(self._order):
                if min(left) >= 0:
                    break
                if index not in self.kept and projected[index] > self._lowest[index]:
                    before = self._shares(index % n, projected)
                    projected[index] -= 1
                    after = self._shares(index % n, projected)
                    left = [room + a - b for room, a, b in zip(left, before, after, strict=True)]
        return tuple(projected)

    def left_for(self, layers: Sequence[int]) -> np.ndarray:
        """Return what all but some layers, whose bits are kept, leave of each limit; int64 ``(limits,)``."""
        others = sorted(set(range(len(self.costs[0].entries))) - {*layers})
        smallest = [self.kept.get(index, b) for index, b in enumerate(self._lowest)]
        shares = [self._shares(layer, smallest) for layer in others]
        taken = [cost.rest + sum(own[limit] for own in shares) for limit, cost in enumerate(self.costs)]
        return np.array(self.allowed, np.int64) - np.array(taken, np.int64)

    def pair_shares(self, layer: int, max_bits: int) -> np.ndarray:
        """Return what a layer's bits of weights and of its input take of each limit.

        A kept bit-width is the same in its whole row or column, and an input's lowest stands for what is below it.

        Returns:
            int64 ``(limits, widths, widths)``: weights, then input, each from ``min_bits`` to ``max_bits``.
        """
        n, every = len(self.costs[0].entries), range(self.min_bits, max_bits + 1)
        weights = [self.kept.get(layer, b) for b in every]
        inputs = [self.kept.get(n + layer, max(b, self._inputs[layer][0])) for b in every]
        return np.array([[[cost.share(layer, w, a) for a in inputs] for w in weights] for cost in self.costs], np.int64)

    def _shares(self, layer: int, bits: Sequence[int]) -> list[int]:
        """Return what one layer takes of each cost under a configuration, in its units."""
        inputs = bits[len(self.costs[0].entries) + layer] if self._inputs else 0
        return [cost.share(layer, bits[layer], inputs) for cost in self.costs]

    def _left(self, bits: Sequence[int]) -> list[int]:
        """Return the units of each cost that a configuration leaves; negative where it is over the limit."""
        return [allowed - cost.total(bits) for cost, allowed in zip(self.costs, self.allowed, strict=True)]

    def _impossible(self, cost: AdditiveCost, limit: float) -> str | None:
        """Return words on a limit that no configuration meets; ``None`` for one that some does."""
        smallest = cost.ratio([self.kept.get(index, b) for index, b in enumerate(self._lowest)])
        if limit >= smallest:
            return None
        how = f"all layers at {self.min_bits} bits"
        if kept := sum(index < len(cost.entries) for index in self.kept):
            how = f"{kept} layers kept at their bits, the others at {self.min_bits}"
        return (
            f"a budget of {limit:g} times the {KINDS[cost.kind]}: the smallest possible is "
            f"{math.ceil(1e6 * smallest) / 1e6:g} "  # rounded up: it may be taken
            f"({how}{f', {cost.condition}' if cost.condition else ''})"
        )
