"""Integer programming on the table of layer sensitivities."""

from typing import Unpack

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import TableSettings, table_of
from adrl_gym import QuantProblem


def ip(problem: QuantProblem, **settings: Unpack[TableSettings]) -> Proposals:
    """Propose one configuration: the best of the table.

    HAWQ-V3 (Yao et al., ICML 2021) solves the same program with the Hessian's estimate of the loss as cost.
    """
    yield table_of(problem, **settings).solve()
