"""A table of layer sensitivities under a budget, whatever they come from."""

from collections.abc import Sequence

import numpy as np

from adrl_gym.problem import QuantProblem
from adrl_gym.sensitivity.knapsack import Knapsack, lagrange_multiplier, solve_exactly


class SensitivityTable:
    """Cost of each bit-width in each searched layer, and the best configurations that follow from it.

    Costs of layers are taken to add up, as in HAWQ-V3 (Yao et al., ICML 2021). A configuration is given as columns
    ``(n,)`` of the table, or as bit-widths of the searched layers.

    Args:
        costs: ``(n, widths)``, lower is better; infinite or undefined ones become a large number.
        parameters: weights of each searched layer.
        allowed: weight bits that the budget leaves to the searched layers.
        min_bits: the bit-width of column 0.

    Attributes:
        costs: ``(n, widths)``, finite.
        sizes: ``(n, widths)``, integers; weight bits of the layer at that bit-width.
        allowed, min_bits: as given.
        knapsack: completions and cost-to-go, for the many questions of an episode.

    >>> table = SensitivityTable(np.array([[9.0, 1.0, 0.0], [3.0, 1.5, 0.0]]), [10, 10], allowed=40, min_bits=1)
    >>> table.solve()
    (2, 2)
    """

    def __init__(self, costs: np.ndarray, parameters: Sequence[int], allowed: int, min_bits: int) -> None:
        self.costs = finite(costs)
        self.allowed, self.min_bits = allowed, min_bits
        self.sizes = np.outer(parameters, np.arange(min_bits, min_bits + costs.shape[1]))  # (n, widths)
        self.knapsack = Knapsack(self.costs, parameters, allowed, min_bits)
        self._multiplier = lagrange_multiplier(self.costs, parameters, allowed, min_bits)

    @classmethod
    def of(cls, problem: QuantProblem, costs: np.ndarray) -> "SensitivityTable":
        """Return the table of a problem's searched layers, from costs ``(n, widths)``."""
        parameters = [problem.parameters[index] for index in problem.searchable]
        return cls(costs, parameters, searchable_budget(problem), problem.min_bits)

    @property
    def priced(self) -> np.ndarray:
        """Cost plus size at the budget's Lagrange multiplier, ``(n, widths)``, for states that hide what is left."""
        return self.costs + self._multiplier * self.sizes

    def solve(self) -> tuple[int, ...]:
        """Return the bit-widths of least summed cost within the budget, exactly (see ``solve_exactly``)."""
        return self.bits(solve_exactly(self.costs, self.sizes, self.allowed))

    def columns(self, bits: Sequence[int]) -> np.ndarray:
        """Return bit-widths as columns ``(n,)``."""
        return np.array(bits) - self.min_bits

    def bits(self, columns: np.ndarray) -> tuple[int, ...]:
        """Return columns ``(n,)`` as bit-widths."""
        return tuple((columns + self.min_bits).tolist())

    def cost(self, columns: np.ndarray) -> float:
        """Return the summed cost of columns ``(n,)``."""
        return float(self.costs[np.arange(len(columns)), columns].sum())

    def size(self, columns: np.ndarray) -> int:
        """Return the weight bits of columns ``(n,)``."""
        return int(self.sizes[np.arange(len(columns)), columns].sum())


def searchable_budget(problem: QuantProblem) -> int:
    """Return the weight bits that the budget leaves to the searched layers, after those at fixed bits."""
    fixed = sum(problem.parameters[index] * b for index, b in problem.fixed_bits.items())
    return problem.limits.allowed[0] - fixed


def finite(costs: np.ndarray) -> np.ndarray:
    """Return costs with a large number for those that a broken network leaves infinite or undefined."""
    worst = 10 * max(costs[np.isfinite(costs)].max(initial=0.0), 1.0)
    return np.nan_to_num(costs, nan=worst, posinf=worst)
