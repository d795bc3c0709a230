"""What follows from one-layer costs under a budget."""

import numpy as np

from adrl_agents.one_layer.completion import Completion, price_of_size
from adrl_gym import QuantProblem
from adrl_gym.budget import FLOAT_BITS


class LayerTable:
    """What each searched layer alone costs at each bit-width, and what follows from that for one problem's budget.

    Cost alone always prefers more bits; both of these feel the budget, of which kept layers take their share first.

    Attributes:
        costs: ``(n, widths)``, as given.
        completion: what the layers still to come cost at least, within the size that is left.
        priced: ``(n, widths)``, cost plus size at the budget's price, for states that do not tell what is left.
    """

    def __init__(self, problem: QuantProblem, costs: np.ndarray) -> None:
        self.problem, self.costs = problem, costs
        bits = np.arange(problem.lowest, problem.highest + 1)
        parameters = [problem.parameters[index] for index in problem.free]
        kept = sum(problem.parameters[index] * b for index, b in problem.kept.items())
        allowed = problem.budget * FLOAT_BITS * sum(problem.parameters) - kept
        price = price_of_size(costs, parameters, allowed, problem.lowest)
        self.priced = costs + price * np.outer(parameters, bits)  # (n, widths)
        self.completion = Completion(costs, parameters, allowed, problem.lowest)
