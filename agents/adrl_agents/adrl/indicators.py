"""Q-value indicators: what a candidate bit-width is worth, by knowledge of the domain instead of by learning."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from adrl_agents.adrl.completion import Completion, price_of_size
from adrl_agents.one_layer import one_layer_costs
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.budget import FLOAT_BITS
from adrl_gym.evaluation import SCORES, Score

Context = Literal["single", "prefix", "completed"]

#: ``indicator(problem, decided, candidates) -> scores``. ``decided`` holds the bits of the layers before,
#: ``candidates`` the bit-widths proposed for the next layer; one score for each, higher is better.
Indicator = Callable[[QuantProblem, tuple[int, ...], Sequence[int]], Sequence[float]]


class LayerTable:
    """What each layer alone costs at each bit-width, and what follows from that for one problem's budget.

    Cost alone always prefers more bits; both of these feel the budget.

    Attributes:
        completion: what the layers still to come cost at least, within the size that is left.
        priced: ``(n, widths)``, cost plus size at the budget's price, for states that do not tell what is left.
    """

    def __init__(self, problem: QuantProblem, costs: np.ndarray) -> None:
        self.problem = problem
        bits = np.arange(problem.lowest, problem.highest + 1)
        allowed = problem.budget * FLOAT_BITS * sum(problem.parameters)
        price = price_of_size(costs, problem.parameters, allowed, problem.lowest)
        self.priced = costs + price * np.outer(problem.parameters, bits)  # (n, widths)
        self.completion = Completion(costs, problem.parameters, allowed, problem.lowest)


class DistanceIndicator:
    """D-ADRL: the nearer the quantized weights are to the float ones, the better.

    A candidate's cost is its layer's squared error over squared weights, plus the least that the layers still to come
    cost by the same measure within the budget that is left.
    """

    def __init__(self) -> None:
        self._known: LayerTable | None = None

    def __call__(self, problem: QuantProblem, decided: tuple[int, ...], candidates: Sequence[int]) -> list[float]:
        """Scores of the candidate bit-widths for the next layer, higher is better."""
        return [-cost for cost in self._table(problem).completion.least_costs(decided, candidates)]

    def replay_scores(self, problem: QuantProblem) -> np.ndarray:
        """Scores for refining replayed states, ``(n, widths)``."""
        return -self._table(problem).priced

    def _table(self, problem: QuantProblem) -> LayerTable:
        if self._known is None or self._known.problem is not problem:
            self._known = LayerTable(problem, problem.distances)
        return self._known

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}  # an agent's file holds no networks and no images


class ProfilingIndicator:
    """P-ADRL: measure the network with the candidate's bits on a little data.

    Args:
        context: the other layers while a candidate is measured. ``single``: all float, a table that is made once.
            ``prefix``: those before as decided, the rest float. ``completed``: those before as decided, the rest as
            integer programming on that table would have them within the budget that is left, so that the cost is
            that of a whole configuration. In the first two, the least that the rest costs by the table is added.
        score: ``accuracy``, ``agreement`` with the float network or ``kl`` divergence from it.
        images: how many search images.
        early_termination: stop measuring a candidate once it cannot win any more. The choice stays the same.
    """

    def __init__(
        self,
        context: Context = "single",
        score: Score = "kl",
        images: int = 250,
        early_termination: bool = True,
    ) -> None:
        if context not in get_args(Context):
            raise AdrlGymError(f"unknown context {context!r}: choose one of {', '.join(get_args(Context))}")
        if score not in SCORES:
            raise AdrlGymError(f"unknown score {score!r}: choose one of {', '.join(SCORES)}")
        if images < 1:
            raise AdrlGymError(f"profiling needs at least 1 image, not {images}")
        self.context: Context = context
        self.score: Score = score
        self.images = images
        self.early_termination = early_termination
        self._known: LayerTable | None = None

    def __call__(self, problem: QuantProblem, decided: tuple[int, ...], candidates: Sequence[int]) -> list[float]:
        """Scores of the candidate bit-widths for the next layer, higher is better."""
        completion, layer = self._table(problem).completion, len(decided)
        if self.context == "single":
            return [-cost for cost in completion.least_costs(decided, candidates)]
        # The likeliest winner first: the sooner a low cost is known, the sooner the others can stop.
        likely = completion.complete(decided)[layer]
        costs: dict[int, float] = {}
        for b in sorted(set(candidates), key=lambda b: (abs(b - likely), b)):
            if self.context == "prefix":
                rest = completion.least_rest((*decided, b))
                configuration = (*decided, b, *[None] * (len(problem.layers) - layer - 1))
            else:
                rest = 0.0
                configuration = problem.project(completion.complete((*decided, b)))
            if rest == math.inf:  # whatever the rest does, the budget is broken
                costs[b] = math.inf
                continue
            limit = min(costs.values(), default=math.inf) - rest if self.early_termination else math.inf
            costs[b] = rest + problem.profile(configuration, self.score, self.images, limit)
        return [-costs[b] for b in candidates]

    def replay_scores(self, problem: QuantProblem) -> np.ndarray:
        """Scores for refining replayed states, ``(n, widths)``: those of each layer alone, by look-up."""
        return -self._table(problem).priced

    def _table(self, problem: QuantProblem) -> LayerTable:
        if self._known is None or self._known.problem is not problem:
            costs = one_layer_costs(problem, self.score, self.images)
            self._known = LayerTable(problem, costs)
        return self._known

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}  # an agent's file holds no networks and no images


def score_table(indicator: Indicator, problem: QuantProblem) -> np.ndarray:
    """The indicator's scores of every layer and bit-width, ``(n, widths)``, for refining replayed states.

    A replayed state does not tell the bits of the layers before it. Indicators say with ``replay_scores`` what to use
    instead; a plain callable sees uniform bits that fit the budget.
    """
    if isinstance(indicator, DistanceIndicator | ProfilingIndicator):
        return indicator.replay_scores(problem)
    uniform = problem.project([problem.highest] * len(problem.layers))
    widths = list(range(problem.lowest, problem.highest + 1))
    return np.array([indicator(problem, uniform[:layer], widths) for layer in range(len(problem.layers))])
