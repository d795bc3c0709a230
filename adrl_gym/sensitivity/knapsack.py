"""The multiple-choice knapsack: one bit-width a layer, least summed cost, within the budget."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

_MOST_UNITS = 1 << 16  # resolution of sizes, where the layers' own common divisor would need a finer one
_MOST_COEFFICIENT = 1e9  # of sizes that HiGHS sees
_SCALE = 1e3  # largest cost that HiGHS sees, so that its absolute tolerance of 1e-6 has no effect


class Knapsack:
    """Solver of the knapsack for every suffix of the layers at once.

    Dynamic programming over (layer, size left) answers every question of a search by look-up, where a solver would be
    called thousands of times. Sizes are counted in the layers' common divisor, and the answers are exact. Where that
    makes more than ``_MOST_UNITS`` units, the unit is coarser. Sizes are then rounded up, so that the budget holds.

    Args:
        costs: ``(n, widths)``, cost of giving one layer alone a bit-width; lower is better.
        sizes: ``(n, widths)``, integers that never fall along the widths: what it takes of the budget.
        allowed: largest summed size.
        min_bits: the smallest bit-width, that of ``costs[:, 0]``.
        units: resolution of sizes, at most.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 0.0]])  # two layers, 1 to 3 bits
    >>> sizes = np.array([[10, 20, 30], [10, 20, 30]])
    >>> Knapsack(costs, sizes, allowed=40, min_bits=1).complete(())
    (2, 2)
    >>> Knapsack(costs, sizes, allowed=40, min_bits=1).complete((1,))
    (1, 3)
    >>> Knapsack(costs, sizes, allowed=40, min_bits=1).least_costs((), [1, 2, 3])
    [9.0, 3.0, 3.0]
    """

    def __init__(
        self, costs: np.ndarray, sizes: np.ndarray, allowed: int, min_bits: int, units: int = _MOST_UNITS
    ) -> None:
        layers, widths = costs.shape
        self._unit = unit = max(int(np.gcd.reduce(sizes, axis=None)), math.ceil(allowed / units), 1)
        self.min_bits = min_bits
        # Rounded up where the unit is coarser than a layer: a completion never breaks the budget.
        self._sizes = -(-sizes // unit)  # (n, widths)
        self._capacity = allowed // unit
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
        """Return, for each bit-width of the next layer, its cost plus the cost-to-go of all layers after it."""
        column = self._costs[len(decided)]  # (widths,)
        return [float(column[b - self.min_bits]) + self.cost_to_go((*decided, b)) for b in candidates]

    def cost_to_go(self, decided: Sequence[int]) -> float:
        """Return the least cost of the layers still to come; infinite where nothing fits the budget any more."""
        left = self._left(decided)
        return float(self._least[len(decided), left]) if left >= 0 else math.inf

    def _left(self, decided: Sequence[int]) -> int:
        return self._capacity - sum(int(self._sizes[i, b - self.min_bits]) for i, b in enumerate(decided))

    def complete(self, decided: Sequence[int]) -> tuple[int, ...]:
        """Return ``decided`` bits of the first layers and the best of the others; the fewest where nothing fits."""
        return (*decided, *(self.min_bits + column for column in self._rest(len(decided), self._left(decided))))

    def cost_within(self, first: int, left: np.ndarray) -> float:
        """Return the least cost of the layers from ``first`` on within what is left ``(1,)``, not in units."""
        units = int(left[0]) // self._unit
        return float(self._least[first, units]) if units >= 0 else math.inf

    def rest_within(self, first: int, left: np.ndarray) -> list[int]:
        """Return the columns of that cost, from ``first`` on; column 0 where nothing fits."""
        return self._rest(first, int(left[0]) // self._unit)

    def _rest(self, first: int, left: int) -> list[int]:
        columns = []
        for i in range(first, len(self._choice)):
            width = int(self._choice[i, left]) if left >= self._feasible[i] else 0
            left -= int(self._sizes[i, width])
            columns.append(width)
        return columns


def solve_exactly(costs: np.ndarray, sizes: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the columns ``(n,)`` of least summed cost within every limit, by integer programming (HiGHS).

    One answer at a time, but for sizes of any resolution. It keeps every limit, and its cost is the least up to HiGHS's
    tolerances (1e-9 of the dearest entry). At a tie its answer may differ from ``Knapsack``'s.

    Args:
        costs: ``(n, widths)``, finite.
        sizes: ``(limits, n, widths)``, integers.
        allowed: ``(limits,)``, largest summed sizes; column 0 of all layers must fit.

    >>> solve_exactly(np.array([[9.0, 1.0, 0.0], [3.0, 1.5, 0.0]]), np.array([[[10, 20, 30], [10, 20, 30]]]), [40])
    array([1, 1])
    """
    n, widths = costs.shape
    above_least = costs - costs.min(axis=1, keepdims=True)  # (n, widths)
    one_width_a_layer = np.kron(np.eye(n), np.ones((1, widths)))  # (n, n * widths)
    units = [max(int(np.gcd.reduce(of_limit, axis=None)), 1) for of_limit in sizes]
    taken = np.stack([of_limit.reshape(-1) // unit for of_limit, unit in zip(sizes, units, strict=True)])
    most = np.array([limit // unit for limit, unit in zip(allowed, units, strict=True)])  # (limits,)
    scales = np.maximum(taken.max(axis=1) / _MOST_COEFFICIENT, 1)  # (limits,)
    upper = most.copy()  # (limits,)
    while True:
        solved = milp(
            above_least.reshape(-1) * (_SCALE / max(above_least.max(), 1e-300)),
            constraints=[
                LinearConstraint(one_width_a_layer, 1, 1),
                LinearConstraint(taken / scales[:, None], ub=upper / scales),
            ],
            integrality=np.ones(n * widths, dtype=int),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0},
        )
        assert solved.x is not None, solved.message
        columns = solved.x.reshape(n, widths).argmax(axis=1)
        over = taken[:, np.arange(n) * widths + columns].sum(axis=1) - most  # (limits,)
        if (over <= 0).all():
            return columns
        upper -= np.maximum(over, 0)  # HiGHS lets a large sum pass by its tolerance


def combined_sizes(sizes: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return one size for all limits, ``(n, widths)``: each counts by what it is of its limit, in the first one's unit.

    >>> combined_sizes(np.array([[[10, 20]], [[1, 4]]]), np.array([40, 8]))
    array([[15., 40.]])
    """
    combined: np.ndarray = sizes[0]
    for of_limit, limit in zip(sizes[1:], allowed[1:], strict=True):
        combined = combined + of_limit * (max(int(allowed[0]), 1) / max(int(limit), 1))
    return combined


def lagrange_multiplier(costs: np.ndarray, sizes: np.ndarray, allowed: np.ndarray) -> float:
    """Return the Lagrange multiplier of the size constraint: the cost that one unit of it is worth at the budget.

    Found by bisection: the smallest multiplier at which the layers, each choosing its bits by cost + multiplier * size
    alone, stay within every limit. Several limits share it, by ``combined_sizes``. Arguments as for ``solve_exactly``.
    """
    layers, combined = np.arange(len(costs)), combined_sizes(sizes, allowed)

    def breaks(multiplier: float) -> bool:
        chosen = (costs + multiplier * combined).argmin(axis=1)  # (n,)
        return bool((sizes[:, layers, chosen].sum(axis=1) > allowed).any())

    low, high = 0.0, 1e-12
    while breaks(high) and high < 1e12:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if breaks(middle) else (low, middle)
    return high
