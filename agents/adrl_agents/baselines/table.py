"""What the searches on a one-layer table start from."""

import math
from typing import NamedTuple

import numpy as np

from adrl_agents.options import SearchOptions
from adrl_gym import QuantProblem
from adrl_gym.sensitivity import finite, measure_sensitivity, searchable_budget


class Table(NamedTuple):
    """A multiple-choice knapsack: one bit-width a searched layer, least summed cost, size within what kept ones leave.

    Attributes:
        costs: ``(n, widths)``, finite; cost of giving one layer alone a bit-width, lower is better.
        sizes: ``(n, widths)``, integers; weight bits of the layer at that bit-width.
        allowed: weight bits that the budget allows.
        lowest: the bit-width of column 0.
    """

    costs: np.ndarray
    sizes: np.ndarray
    allowed: int
    lowest: int

    def cost(self, columns: np.ndarray) -> float:
        """Summed cost of a configuration given as columns ``(n,)``."""
        return float(self.costs[np.arange(len(columns)), columns].sum())

    def size(self, columns: np.ndarray) -> int:
        """Weight bits of a configuration given as columns ``(n,)``."""
        return int(self.sizes[np.arange(len(columns)), columns].sum())

    def bits(self, columns: np.ndarray) -> tuple[int, ...]:
        """Bit-widths of a configuration given as columns ``(n,)``."""
        return tuple((columns + self.lowest).tolist())


def measure_table(problem: QuantProblem, options: SearchOptions) -> Table:
    """Measure every searched layer alone at every bit-width, by ``options.score`` on ``options.profile_images`` images.

    Raises:
        AdrlGymError: it leaves no evaluation of ``options.evaluations`` to try a configuration with.
    """
    most = math.inf if options.evaluations is None else options.evaluations - 1
    costs = measure_sensitivity(problem, options.score, options.profile_images, most=most)
    return knapsack(problem, costs)


def knapsack(problem: QuantProblem, costs: np.ndarray) -> Table:
    """The table of a problem's searched layers, from costs ``(n, widths)`` that may be infinite."""
    parameters = [problem.parameters[index] for index in problem.searchable]
    sizes = np.outer(parameters, np.arange(problem.min_bits, problem.max_bits + 1))  # (n, widths)
    return Table(finite(costs), sizes, searchable_budget(problem), problem.min_bits)
