"""Integer programming on the one-layer table."""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import Table, measure_table
from adrl_agents.options import SearchOptions
from adrl_gym import QuantProblem

SCALE = 1e3  # the largest cost that the solver sees: its absolute tolerance of 1e-6 is then nothing


def ip(problem: QuantProblem, options: SearchOptions) -> Proposals:
    """One configuration: the best of the table. See ``solve``."""
    table = measure_table(problem, options)
    yield table.bits(solve(table))


def solve(table: Table) -> np.ndarray:
    """Columns ``(n,)`` of least summed cost within the budget, by HiGHS.

    The layers' costs are taken to add up, as in HAWQ-V3 (Yao et al., ICML 2021), which has the Hessian's
    estimate of the loss for a cost.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 1.5, 0.0]])
    >>> sizes = np.array([[10, 20, 30], [10, 20, 30]])
    >>> solve(Table(costs, sizes, allowed=40, lowest=1))
    array([1, 1])
    """
    n, widths = table.costs.shape
    costs = table.costs - table.costs.min(axis=1, keepdims=True)  # (n, widths)
    one_width_a_layer = np.kron(np.eye(n), np.ones((1, widths)))  # (n, n * widths)
    unit = np.gcd.reduce(table.sizes, axis=None)
    within_budget = table.sizes.reshape(1, -1) // unit  # (1, n * widths)
    solved = milp(
        costs.reshape(-1) * (SCALE / max(costs.max(), 1e-300)),
        constraints=[
            LinearConstraint(one_width_a_layer, 1, 1),
            LinearConstraint(within_budget, ub=table.allowed // unit),
        ],
        integrality=np.ones(n * widths, dtype=int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert solved.x is not None, solved.message  # the lowest bits fit: QuantProblem has checked the budget
    return solved.x.reshape(n, widths).argmax(axis=1)
