"""The same bit-width for every layer."""

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import QuantProblem


def uniform(problem: QuantProblem) -> Proposals:
    """Propose the largest bit-width that fits, then the next one, projected, which uses the rest of the budget."""
    n = len(problem.searchable)
    widths = range(problem.min_bits, problem.max_bits + 1)
    fits = max(b for b in widths if problem.fits(problem.with_fixed([b] * n)))
    yield [fits] * n
    if fits < problem.max_bits and not problem.limits.full(problem.with_fixed([fits] * n)):
        yield [fits + 1] * n
