"""What follows from one-layer costs under a budget."""

import numpy as np

from adrl_gym import QuantProblem
from adrl_gym.costs import allowed_bits
from adrl_gym.sensitivity.knapsack import Knapsack, lagrange_multiplier


def searchable_budget(problem: QuantProblem) -> int:
    """Weight bits that the budget leaves to the searched layers, of which kept ones take their share first."""
    kept = sum(problem.parameters[index] * b for index, b in problem.fixed_bits.items())
    return allowed_bits(problem.budget, problem.parameters) - kept


def finite(costs: np.ndarray) -> np.ndarray:
    """Costs with a large number for those that a broken network leaves infinite or undefined."""
    worst = 10 * max(costs[np.isfinite(costs)].max(initial=0.0), 1.0)
    return np.nan_to_num(costs, nan=worst, posinf=worst)


class SensitivityTable:
    """What each searched layer alone costs at each bit-width, and what follows from that for one problem's budget.

    Cost alone always prefers more bits; both of these feel the budget.

    Attributes:
        costs: ``(n, widths)``, as given, and finite.
        completion: what the layers still to come cost at least, within the size that is left.
        priced: ``(n, widths)``, cost plus size at the budget's price, for states that do not tell what is left.
    """

    def __init__(self, problem: QuantProblem, costs: np.ndarray) -> None:
        self.problem, self.costs = problem, (costs := finite(costs))
        bits = np.arange(problem.min_bits, problem.max_bits + 1)
        parameters = [problem.parameters[index] for index in problem.searchable]
        allowed = searchable_budget(problem)
        price = lagrange_multiplier(costs, parameters, allowed, problem.min_bits)
        self.priced = costs + price * np.outer(parameters, bits)  # (n, widths)
        self.completion = Knapsack(costs, parameters, allowed, problem.min_bits)
