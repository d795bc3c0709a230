"""The same bit-width for every layer."""

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import QuantProblem


def uniform(problem: QuantProblem) -> Proposals:
    """Propose the largest bit-width that fits, then the next one, projected, which uses the rest of the budget."""
    n = len(problem.searchable)
    sizes = {b: problem.size_ratio(problem.with_fixed([b] * n)) for b in range(problem.min_bits, problem.max_bits + 1)}
    fits = max(b for b, size in sizes.items() if size <= problem.budget)
    yield [fits] * n
    if sizes[fits] < problem.budget and fits < problem.max_bits:
        yield [fits + 1] * n
