"""Complete a half-decided configuration: the best bits for the other layers under the budget that is left."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

MOST_UNITS = 1 << 16  # resolution of sizes, where the layers' own common divisor would need a finer one


class Completion:
    """Integer programming on a one-layer table, solved for every suffix of the layers at once.

    The problem is a multiple-choice knapsack: one bit-width a layer, least summed cost, size within
    the budget. Dynamic programming over (layer, size left) answers every question of a search by look-up, where
    a solver would be called thousands of times.

    Args:
        costs: ``(n, widths)``, cost of giving one layer alone a bit-width; lower is better.
        parameters: weights of each layer.
        allowed: weight bits that the budget allows.
        lowest: the smallest bit-width, that of ``costs[:, 0]``.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 0.0]])  # two layers, 1 to 3 bits
    >>> Completion(costs, [10, 10], allowed=40, lowest=1).complete(())
    (2, 2)
    >>> Completion(costs, [10, 10], allowed=40, lowest=1).complete((1,))
    (1, 3)
    >>> Completion(costs, [10, 10], allowed=40, lowest=1).least_costs((), [1, 2, 3])
    [9.0, 3.0, 3.0]
    >>> Completion(costs, [10, 10], allowed=40, lowest=1).best_with(1)  # 1, 2 or 3 bits for the second layer
    [(3, 1), (2, 2), (1, 3)]
    """

    def __init__(self, costs: np.ndarray, parameters: Sequence[int], allowed: float, lowest: int) -> None:
        self._problem = costs, parameters, allowed, lowest
        layers, widths = costs.shape
        unit = max(math.gcd(*parameters), math.ceil(allowed / MOST_UNITS))
        bits = np.arange(lowest, lowest + widths)
        self.lowest = lowest
        # Rounded up where the unit is coarser than a layer: a completion never breaks the budget.
        self._sizes = -(-np.outer(parameters, bits) // unit)  # (n, widths)
        self._capacity = int(allowed // unit)
        # least[i, c]: the smallest cost of the layers from i on within size c; choice[i, c]: the width that gives it.
        self._costs = costs
        self._least = np.zeros((layers + 1, self._capacity + 1))
        self._choice = np.zeros((layers, self._capacity + 1), dtype=np.int8)
        self._feasible = np.zeros(layers + 1, dtype=np.int64)  # smallest size that layers i.. can have
        for i in reversed(range(layers)):
            options = np.full((widths, self._capacity + 1), np.inf)  # (widths, c)
            for w, size in enumerate(self._sizes[i]):
                if size <= self._capacity:
                    options[w, size:] = costs[i, w] + self._least[i + 1, : self._capacity + 1 - size]
            self._choice[i] = options.argmin(axis=0)  # fewer bits at a tie
            self._least[i] = options.min(axis=0)
            self._feasible[i] = self._feasible[i + 1] + self._sizes[i, 0]

    def least_costs(self, decided: Sequence[int], candidates: Sequence[int]) -> list[float]:
        """For each bit-width of the next layer, its cost and the least cost of all layers after it."""
        column = self._costs[len(decided)]  # (widths,)
        return [float(column[b - self.lowest]) + self.least_rest((*decided, b)) for b in candidates]

    def least_rest(self, decided: Sequence[int]) -> float:
        """The least cost of the layers still to come; infinite where nothing fits the budget any more."""
        left = self._left(decided)
        return float(self._least[len(decided), left]) if left >= 0 else math.inf

    def _left(self, decided: Sequence[int]) -> int:
        return self._capacity - sum(int(self._sizes[i, b - self.lowest]) for i, b in enumerate(decided))

    def complete(self, decided: Sequence[int]) -> tuple[int, ...]:
        """``decided`` bits of the first layers, then the best of the others; the lowest where nothing else fits."""
        return (*decided, *self._solve(len(decided), self._left(decided)))

    def best_with(self, layer: int) -> list[tuple[int, ...] | None]:
        """For each bit-width of one layer, the best configuration in which it has it; ``None`` where none fits."""
        before, after = self._mirror._least[len(self._choice) - layer], self._least[layer + 1]  # (c,) each
        best: list[tuple[int, ...] | None] = []
        for width, size in enumerate(self._sizes[layer]):
            room = self._capacity - int(size)
            totals = before[: room + 1] + after[room::-1] if room >= 0 else np.array([np.inf])  # (room + 1,)
            split = int(totals.argmin())
            if np.isinf(totals[split]):
                best.append(None)
                continue
            left, right = self._mirror._solve(len(self._choice) - layer, split), self._solve(layer + 1, room - split)
            best.append((*reversed(left), self.lowest + width, *right))
        return best

    @cached_property
    def _mirror(self) -> "Completion":
        """The same with the layers in reverse, for what comes before a layer."""
        costs, parameters, allowed, lowest = self._problem
        return Completion(costs[::-1], list(parameters)[::-1], allowed, lowest)

    def _solve(self, layer: int, left: int) -> list[int]:
        """The best bits of the layers from ``layer`` on within the size ``left``."""
        bits = []
        for i in range(layer, len(self._choice)):
            width = int(self._choice[i, left]) if left >= self._feasible[i] else 0
            left -= int(self._sizes[i, width])
            bits.append(self.lowest + width)
        return bits


def price_of_size(costs: np.ndarray, parameters: Sequence[int], allowed: float, lowest: int) -> float:
    """Cost that one weight bit is worth at the budget: the Lagrange multiplier of the size constraint.

    Found by bisection: the smallest price at which the layers, each choosing its bits by cost + price * size
    alone, stay within ``allowed`` weight bits. Arguments as for ``Completion``.
    """
    sizes = np.outer(parameters, np.arange(lowest, lowest + costs.shape[1]))  # (n, widths)

    def size_at(price: float) -> int:
        chosen = (costs + price * sizes).argmin(axis=1)  # (n,)
        return int(sizes[np.arange(len(sizes)), chosen].sum())

    low, high = 0.0, 1e-12
    while size_at(high) > allowed and high < 1e12:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if size_at(middle) > allowed else (low, middle)
    return high
