"""Integer programming on the table of layer sensitivities."""

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import measured_table
from adrl_gym import QuantProblem
from adrl_gym.evaluation import Score


def ip(problem: QuantProblem, *, score: Score, profile_images: int, evaluations: int | None) -> Proposals:
    """Propose one configuration: the best of the table.

    HAWQ-V3 (Yao et al., ICML 2021) solves the same program with the Hessian's estimate of the loss as cost.
    """
    yield measured_table(problem, score=score, profile_images=profile_images, evaluations=evaluations).solve()
