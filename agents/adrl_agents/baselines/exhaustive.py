"""Every configuration, for networks of a few layers."""

import itertools
import math

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import AdrlGymError, QuantProblem

_MOST = 10_000  # configurations, before the budget rules some out


def exhaustive(problem: QuantProblem, *, episodes: int, evaluations: int | None) -> Proposals:
    """All configurations that fit the budget, from few bits to many.

    Raises:
        AdrlGymError: there are more than ``_MOST``, or the limits would cut the search short.
    """
    n, widths = len(problem.searchable), range(problem.min_bits, problem.max_bits + 1)
    choices = [problem.widths(place) for place in problem.searchable]
    if math.prod(map(len, choices)) > _MOST:
        parts = "layers and inputs" if problem.searches_inputs else "layers"
        raise AdrlGymError(
            f"an exhaustive search tries at most {_MOST:,} configurations, and {len(widths)} bit-widths in {n} {parts} "
            f"make {float(math.prod(map(len, choices))):.3g}: choose another method",
            parameter="method",
        )
    every = itertools.product(*choices)
    fitting = [bits for bits in every if problem.fits(problem.with_fixed(bits))]
    for name, limit in (("episodes", episodes), ("evaluations", evaluations)):
        if limit is not None and limit < len(fitting):
            raise AdrlGymError(
                f"{name} must be at least {len(fitting)}, got {limit}: "
                f"an exhaustive search tries {len(fitting):,} configurations here",
                parameter=name,
            )
    for bits in fitting:  # noqa: UP028 - "yield from" would send the measurements to a list, which takes none
        yield bits
