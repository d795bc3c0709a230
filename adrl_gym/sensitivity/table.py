"""A table of layer sensitivities under a budget, whatever they come from."""

from collections.abc import Sequence

import numpy as np

from adrl_gym.search_space import SearchSpace
from adrl_gym.sensitivity.frontier import FrontierKnapsack
from adrl_gym.sensitivity.knapsack import Knapsack, combined_sizes, lagrange_multiplier, solve_exactly


class SensitivityTable:
    """Cost of each bit-width in each searched layer, and the best configurations that follow from it.

    Costs of layers are taken to add up, as in HAWQ-V3 (Yao et al., ICML 2021). A configuration is given as columns
    ``(n,)`` of the table, or as bit-widths of the searched layers.

    Args:
        costs: ``(n, widths)``, lower is better; infinite or undefined ones become a large number.
        sizes: ``(limits, n, widths)``, integers; what each bit-width takes of each limit of the budget.
        allowed: what the budget leaves to the searched layers of each limit.
        min_bits: the bit-width of column 0.

    Attributes:
        costs: ``(n, widths)``, finite.
        sizes, min_bits: as given.
        allowed: int64 ``(limits,)``.
        combined: ``(n, widths)``, one size for all limits, see ``combined_sizes``.
        knapsack: completions and cost-to-go, for the many questions of an episode.

    >>> sizes = np.array([[[10, 20, 30], [10, 20, 30]]])
    >>> SensitivityTable(np.array([[9.0, 1.0, 0.0], [3.0, 1.5, 0.0]]), sizes, allowed=[40], min_bits=1).solve()
    (2, 2)
    """

    def __init__(self, costs: np.ndarray, sizes: np.ndarray, allowed: Sequence[int], min_bits: int) -> None:
        self.costs = finite(costs)
        self.allowed, self.min_bits = np.array(allowed, np.int64), min_bits
        self.sizes, self.combined = sizes, combined_sizes(sizes, self.allowed)
        self.knapsack: Knapsack | FrontierKnapsack
        if len(sizes) == 1:
            self.knapsack = Knapsack(self.costs, sizes[0], int(self.allowed[0]), min_bits)
        else:
            self.knapsack = FrontierKnapsack(self.costs, sizes, self.allowed, min_bits)

    @classmethod
    def of(cls, problem: SearchSpace, costs: np.ndarray) -> "SensitivityTable":
        """Return the table of a problem's decisions, from costs ``(n, widths)`` of its searched positions."""
        if problem.searches_inputs:
            from adrl_gym.sensitivity.paired import PairedTable  # which is a table itself

            return PairedTable(problem, costs)
        sizes, allowed = problem.limits.capacity(problem.searchable, problem.max_bits)
        return cls(costs, sizes, allowed.tolist(), problem.min_bits)

    @classmethod
    def answering(cls, problem: SearchSpace, bits: Sequence[int]) -> "SensitivityTable":
        """Return the table whose best configuration is ``bits`` of all layers: costs are distances from it."""
        chosen = np.array([bits[place] for place in problem.searchable])  # (n,)
        costs = np.abs(np.arange(problem.min_bits, problem.max_bits + 1) - chosen[:, None])  # (n, widths)
        return cls.of(problem, costs.astype(np.float64))

    @property
    def priced(self) -> np.ndarray:
        """Cost plus size at the budget's Lagrange multiplier, ``(n, widths)``, for states that hide what is left."""
        return self.costs + lagrange_multiplier(self.costs, self.sizes, self.allowed) * self.combined

    def solve(self) -> tuple[int, ...]:
        """Return the bit-widths of least summed cost within the budget, exactly (see ``solve_exactly``)."""
        return self.bits(solve_exactly(self.costs, self.sizes, self.allowed))

    def columns(self, bits: Sequence[int]) -> np.ndarray:
        """Return bit-widths as columns ``(n,)``."""
        return np.array(bits, np.int64) - self.min_bits

    def bits(self, columns: np.ndarray) -> tuple[int, ...]:
        """Return columns ``(n,)`` as bit-widths."""
        return tuple((columns + self.min_bits).tolist())

    def sizes_at(self, columns: np.ndarray) -> np.ndarray:
        """Return what each bit-width takes of each limit ``(limits, n, widths)``, all others as in ``columns``."""
        return self.sizes

    def cost(self, columns: np.ndarray) -> float:
        """Return the summed cost of columns ``(n,)``."""
        return float(self.costs[np.arange(len(columns)), columns].sum())

    def size(self, columns: np.ndarray) -> np.ndarray:
        """Return what columns ``(n,)`` take of each limit, ``(limits,)``."""
        taken: np.ndarray = self.sizes[:, np.arange(len(columns)), columns].sum(axis=1)
        return taken


def finite(costs: np.ndarray) -> np.ndarray:
    """Return costs with large numbers for those that a broken network leaves infinite or undefined.

    A change is infinitely better where the incumbent is broken.

    >>> finite(np.array([0.5, 2.0, np.inf, np.nan, -np.inf]))
    array([  0.5,   2. ,  20. ,  20. , -20. ])
    """
    worst = 10 * max(costs[np.isfinite(costs)].max(initial=0.0), 1.0)
    return np.nan_to_num(costs, nan=worst, posinf=worst, neginf=-worst)
