"""The same bit-width for every layer."""

from collections.abc import Iterator

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import QuantProblem


def uniform(problem: QuantProblem) -> Proposals:
    """Propose the largest bit-width that fits, then the next one, projected, which uses the rest of the budget.

    Where activations are searched: for each bit-width of all weights, the largest of all inputs that fits. The search
    keeps the best of these pairs.
    """
    if problem.searches_inputs:
        for bits in uniform_pairs(problem):  # noqa: UP028 - "yield from" would send the measurements on
            yield bits
        return
    n = len(problem.searchable)
    widths = range(problem.min_bits, problem.max_bits + 1)
    fits = max(b for b in widths if problem.fits(problem.with_fixed([b] * n)))
    yield [fits] * n
    if fits < problem.max_bits and not problem.limits.full(problem.with_fixed([fits] * n)):
        yield [fits + 1] * n


def uniform_pairs(problem: QuantProblem) -> Iterator[list[int]]:
    """Yield each pair of one bit-width for all weights and one for all inputs that fits, and that none exceeds."""
    n, widths = len(problem.layers), range(problem.min_bits, problem.max_bits + 1)
    last = 0  # bits of inputs of the pair before, which has more bits of weights
    for weights in reversed(widths):
        for inputs in reversed(widths):
            bits = [weights if place < n else inputs for place in problem.searchable]
            if inputs > last and problem.fits(problem.with_fixed(bits)):
                last = inputs
                yield bits
                break
