"""What follows from one-layer costs under a budget."""

import numpy as np

from adrl_gym import QuantProblem
from adrl_gym.costs import allowed_bits
from adrl_gym.sensitivity.knapsack import Completion, price_of_size


def left_to_search(problem: QuantProblem) -> int:
    """Weight bits that the budget leaves to the searched layers, of which kept ones take their share first."""
    kept = sum(problem.parameters[index] * b for index, b in problem.kept.items())
    return allowed_bits(problem.budget, problem.parameters) - kept


def finite(costs: np.ndarray) -> np.ndarray:
    """Costs with a large number for those that a broken network leaves infinite or undefined."""
    worst = 10 * max(costs[np.isfinite(costs)].max(initial=0.0), 1.0)
    return np.nan_to_num(costs, nan=worst, posinf=worst)


class LayerTable:
    """What each searched layer alone costs at each bit-width, and what follows from that for one problem's budget.

    Cost alone always prefers more bits; both of these feel the budget.

    Attributes:
        costs: ``(n, widths)``, as given, and finite.
        completion: what the layers still to come cost at least, within the size that is left.
        priced: ``(n, widths)``, cost plus size at the budget's price, for states that do not tell what is left.
    """

    def __init__(self, problem: QuantProblem, costs: np.ndarray) -> None:
        self.problem, self.costs = problem, (costs := finite(costs))
        bits = np.arange(problem.lowest, problem.highest + 1)
        parameters = [problem.parameters[index] for index in problem.free]
        allowed = left_to_search(problem)
        price = price_of_size(costs, parameters, allowed, problem.lowest)
        self.priced = costs + price * np.outer(parameters, bits)  # (n, widths)
        self.completion = Completion(costs, parameters, allowed, problem.lowest)
