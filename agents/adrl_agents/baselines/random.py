"""Random search: the baseline that any search has to beat."""

import numpy as np

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import QuantProblem


def random(problem: QuantProblem, *, seed: int) -> Proposals:
    """Propose uniformly random bit-widths, projected onto the budget, as in HAQ's warm-up; endless."""
    generator = np.random.default_rng(seed)
    while True:
        yield generator.integers(problem.min_bits, problem.max_bits + 1, len(problem.searchable)).tolist()
