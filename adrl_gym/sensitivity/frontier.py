"""The multiple-choice knapsack under several limits at once, by dynamic programming over undominated states."""

import math
from collections.abc import Sequence

import numpy as np

_MOST_STATES = 2048  # of a suffix of the layers; up to that many, the answers are exact
_CELLS = 45  # along each limit, where states are thinned, at most: two limits have no more cells than states
_BLOCK = 256  # states that are compared with all others at a time


class FrontierKnapsack:
    """Solver of the knapsack for every suffix of the layers at once, under several limits.

    The same questions as ``Knapsack``. A state of a suffix is what its bits take of each limit, and their cost; states
    that another one dominates are left out (Nemhauser and Ullmann 1969). Sizes are never rounded, so answers keep every
    limit. They are exact up to ``_MOST_STATES`` states of a suffix; of more, the cheapest in each cell of a grid over
    the limits stays, and always the smallest. The grid is as fine as leaves no more states than these.

    Args:
        costs: ``(n, widths)``, cost of giving one layer alone a bit-width; lower is better.
        sizes: ``(limits, n, widths)``, integers that never fall along the widths.
        allowed: ``(limits,)``, largest summed sizes.
        min_bits: the bit-width of column 0.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 0.0]])  # two layers, 1 to 3 bits
    >>> sizes = np.array([[[10, 20, 30], [10, 20, 30]], [[1, 2, 3], [1, 1, 1]]])
    >>> FrontierKnapsack(costs, sizes, np.array([50, 2]), min_bits=1).complete(())
    (1, 3)
    """

    def __init__(self, costs: np.ndarray, sizes: np.ndarray, allowed: np.ndarray, min_bits: int) -> None:
        n, widths = costs.shape
        self.min_bits, self._costs, self._sizes, self._allowed = min_bits, costs, sizes, allowed
        before = np.cumsum(sizes[:, :, 0], axis=1) - sizes[:, :, 0]  # (limits, n) least that earlier layers take
        # Of each suffix: what its states take (m, limits), their costs (m,), first columns (m,), and states after (m,).
        self._taken = [np.zeros((1, len(allowed)), np.int64)]
        self._least, self._column, self._next = [np.zeros(1)], [np.zeros(1, np.int8)], [np.zeros(1, np.int64)]
        smallest = 0  # index of the state of column 0 in all layers
        for i in reversed(range(n)):
            states = len(self._taken[0])
            taken = (self._taken[0] + sizes[:, i].T[:, None]).reshape(widths * states, -1)  # (widths m, limits)
            cost = (self._least[0] + costs[i][:, None]).reshape(-1)  # (widths m,)
            column, after = np.divmod(np.arange(widths * states), states)  # (widths m,) both
            kept = _undominated(taken, cost, allowed - before[:, i], smallest)
            smallest = int(np.flatnonzero(kept == smallest)[0])  # of the next suffix: column 0, and this one after it
            for states_of, values in (
                (self._taken, taken[kept]),
                (self._least, cost[kept]),
                (self._column, column[kept].astype(np.int8)),
                (self._next, after[kept]),
            ):
                states_of.insert(0, values)

    def least_costs(self, decided: Sequence[int], candidates: Sequence[int]) -> list[float]:
        """Return, for each bit-width of the next layer, its cost plus the cost-to-go of all layers after it."""
        column = self._costs[len(decided)]  # (widths,)
        return [float(column[b - self.min_bits]) + self.cost_to_go((*decided, b)) for b in candidates]

    def cost_to_go(self, decided: Sequence[int]) -> float:
        """Return the least cost of the layers still to come; infinite where nothing fits the limits any more."""
        return self.cost_within(len(decided), self._left(decided))

    def complete(self, decided: Sequence[int]) -> tuple[int, ...]:
        """Return ``decided`` bits of the first layers and the best of the others; the fewest where nothing fits."""
        rest = self.rest_within(len(decided), self._left(decided))
        return (*decided, *(self.min_bits + column for column in rest))

    def cost_within(self, first: int, left: np.ndarray) -> float:
        """Return the least cost of the layers from ``first`` on within what is left of each limit, ``(limits,)``."""
        state = self._cheapest(first, left)
        return math.inf if state is None else float(self._least[first][state])

    def rest_within(self, first: int, left: np.ndarray) -> list[int]:
        """Return the columns of that cost, from ``first`` on; column 0 where nothing fits."""
        state = self._cheapest(first, left)
        columns = []
        for i in range(first, len(self._costs)):
            columns.append(0 if state is None else int(self._column[i][state]))
            state = None if state is None else int(self._next[i][state])
        return columns

    def _left(self, decided: Sequence[int]) -> np.ndarray:
        columns = [b - self.min_bits for b in decided]
        left: np.ndarray = self._allowed - self._sizes[:, range(len(columns)), columns].sum(axis=1)  # (limits,)
        return left

    def _cheapest(self, first: int, left: np.ndarray) -> int | None:
        fits = np.flatnonzero((self._taken[first] <= left).all(axis=1))
        return int(fits[0]) if len(fits) else None  # states are in the order of their costs


def _undominated(taken: np.ndarray, cost: np.ndarray, room: np.ndarray, smallest: int) -> np.ndarray:
    """Return indices of the states to keep, in the order of their costs.

    Args:
        taken: ``(m, limits)``.
        cost: ``(m,)``.
        room: ``(limits,)``; what takes more can never be part of an answer.
        smallest: index of the state that takes least; it always stays.
    """
    fits = np.flatnonzero((taken <= room).all(axis=1))
    order = fits[np.lexsort((*taken[fits].T, cost[fits]))]  # cheapest first, then the smallest
    if len(order) > _MOST_STATES:
        order = order[_thinned(taken[order])]
    sorted_taken = taken[order]  # (m, limits)
    kept = np.ones(len(order), bool)
    for begin in range(0, len(order), _BLOCK):
        block = sorted_taken[begin : begin + _BLOCK]  # (block, limits)
        below = (sorted_taken[None, : begin + len(block)] <= block[:, None]).all(axis=2)  # (block, states)
        # Dominated by an earlier state, that is a cheaper one, or one as cheap and smaller.
        kept[begin : begin + len(block)] = ~np.tril(below, begin - 1).any(axis=1)
    chosen = order[kept]
    if (chosen == smallest).any():
        return chosen
    chosen = np.append(chosen, smallest)
    return chosen[np.argsort(cost[chosen], kind="stable")]


def _thinned(taken: np.ndarray) -> np.ndarray:
    """Return indices of the first of the states ``(m, limits)`` in each cell of a grid, in their order."""
    from_least = taken - taken.min(axis=0)  # (m, limits)
    span = from_least.max(axis=0) + 1  # (limits,)
    cells = _CELLS
    while True:
        cell = (from_least * cells // span) @ cells ** np.arange(taken.shape[1])  # (m,)
        first = np.unique(cell, return_index=True)[1]
        if len(first) <= _MOST_STATES:
            return np.sort(first)
        cells = cells * 4 // 5
