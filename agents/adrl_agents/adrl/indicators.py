"""The Q-value indicator of P-ADRL: the value of a candidate bit-width by measuring instead of learning."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from adrl_agents.adrl.config import CompletedBy, Context
from adrl_agents.adrl.distance import DistanceIndicator
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import Bits
from adrl_gym.evaluation import SCORES, Score
from adrl_gym.problem import ERROR_RATE
from adrl_gym.sensitivity import (
    Sensitivity,
    SensitivityTable,
    Surrogate,
    TableSource,
    measure_layer,
    sensitivity_tables,
)

# Confidence multiplier: standard errors that a change of a layer's bits is charged. It grows by one step where the
# table's answer turned out to be no better.
_CONFIDENCE_STEP, _MAX_CONFIDENCE = 0.25, 4.0
_NOT_SAVED = ("_tables", "_around", "_is_around", "_known", "_drawn", "_of")
_MOST_IMAGES = 250  # of tables around the incumbent, before they are doubled
_FIRST_IMAGES = 16, 64  # of gradients for the first table: half as many as for later ones, but at least and at most
_MAX_SAMPLES = 20  # tables drawn in search of one whose answer was not tried

#: ``indicator(problem, decided, candidates) -> scores``. ``decided`` holds the bits of the searched layers before
#: (``problem.searchable``), ``candidates`` the bit-widths proposed for the next one; one score each, higher is better.
Indicator = Callable[[QuantProblem, tuple[int, ...], Sequence[int]], Sequence[float]]


class ProfilingIndicator:
    """P-ADRL: measure the network with the candidate's bits on a little data.

    Args:
        context: the other searched layers while a candidate is measured (kept ones always have their bits).
            ``single``: all float, a table that is made once. ``prefix``: those before as decided, the rest float.
            ``completed``: those before as decided, the rest as the knapsack on that table completes them within the
            budget that is left. ``best``: as in the incumbent; each new incumbent gets a new table, and before the
            first, this is ``single``. All but ``completed`` add the cost-to-go by the table.
        score: ``accuracy``, ``agreement`` with the float network, ``kl`` divergence from it, or ``loss`` (of
            images with labels).
        images: how many search images; by default 250 for a table from gradients, and a quarter of the search images,
            at most 250, for all that is measured. Context ``best`` doubles it once, when it has no more to propose.
        early_termination: stop measuring a candidate once it is significantly worse than the best (see ``race``).
        completion: of ``completed``: the knapsack (``ip``), or the largest bit-width for all others that fits
            (``uniform``).
        memoization: never measure the same thing twice. Without it, the table's row is measured anew for every layer
            of every episode. That changes the cost of the search, not its result.
        sensitivity: how tables are made, see ``sensitivity_tables``.

    Attributes:
        start: gives the bits of all layers to propose first (it can be pickled); ``None`` for the table's answer.
    """

    start: Callable[[QuantProblem], tuple[int, ...]] | None = None

    def __init__(
        self,
        context: Context = "best",
        score: Score = "kl",
        images: int | None = None,
        early_termination: bool = True,
        completion: CompletedBy = "ip",
        memoization: bool = True,
        sensitivity: Sensitivity = "gradient",
    ) -> None:
        if context not in get_args(Context):
            raise AdrlGymError(f"unknown context {context!r}: choose one of {', '.join(get_args(Context))}")
        if score not in SCORES:
            raise AdrlGymError(f"unknown score {score!r}: choose one of {', '.join(SCORES)}")
        if completion not in get_args(CompletedBy):
            raise AdrlGymError(f"unknown completion {completion!r}: choose one of {', '.join(get_args(CompletedBy))}")
        if images is not None and images < 1:
            raise AdrlGymError(f"images must be at least 1, got {images}: profiling measures on them")
        self.context: Context = context
        self.score: Score = score
        self._images = images
        self.completion: CompletedBy = completion
        self.memoization, self.sensitivity = memoization, sensitivity
        self._error_rate = ERROR_RATE if early_termination else 0.0
        self._identity: object = None  # of the problem that all of the following is about
        self._forget()

    def _forget(self) -> None:
        self._best: tuple[int, ...] | None = None  # bits of all layers
        self._least = math.inf  # what the best costs, on all search images
        self._tried: set[tuple[int, ...]] = set()
        self._doubled, self._confidence = False, 0.0  # images of the tables around the best
        self._tables: TableSource | None = None
        self._of: QuantProblem | None = None  # whose tables those are
        self._around: Surrogate | None = None
        self._is_around: tuple[tuple[int, ...], int] | None = None  # bits and images that it is of
        self._known: SensitivityTable | None = None  # what scores come from ...
        self._drawn: SensitivityTable | None = None  # ... except in an episode of Thompson sampling

    def _follow(self, problem: QuantProblem) -> None:
        """Forget what was learned where the problem is another one: its budget, images, network or bit-widths."""
        if self._identity not in (None, problem.identity):
            self._forget()
        self._identity = problem.identity

    def images(self, problem: QuantProblem) -> int:
        """Return how many search images a table around the incumbent is made of, before they are doubled."""
        if self._images is not None:
            return self._images
        share = 1 if self._from_gradients else 4
        return max(1, min(_MOST_IMAGES, problem.images // share))

    @property
    def _from_gradients(self) -> bool:
        return (self.sensitivity, self.score, self.context) == ("gradient", "kl", "best")

    def update(self, problem: QuantProblem, bits: tuple[int, ...]) -> None:
        """Record that a configuration was tried; in context ``best``, it may become the incumbent."""
        self._follow(problem)
        self._tried.add(bits)
        self._drawn = None
        if self.context == "best":
            cost = float(problem.costs([bits], self.score).mean())  # by the score that the table is of
            if self._best is None or cost < self._least:
                self._best, self._least = bits, cost
                self._confidence, self._known = 0.0, None

    def propose(self, problem: QuantProblem) -> bool:
        """Propose the best configuration by the table; return ``False`` if it was tried or proposed before.

        Context ``best`` looks further. If the answer was tried and is no better than the incumbent, the confidence
        multiplier grows until the answer changes. If the answer is the incumbent itself, the table is measured once
        more with twice the images.
        """
        self._follow(problem)
        self._drawn = None  # of an episode that was interrupted
        if self.start is not None and not self._tried:
            answer = self.start(problem)
            self._drawn = SensitivityTable.answering(problem, answer)
            self._tried.add(answer)
            return True
        if self.context in ("prefix", "completed"):  # what they answer takes measurements to know
            return not self._tried
        while (answer := self.answer(problem)) in self._tried and self._best is not None:
            if answer != self._best and self._confidence < _MAX_CONFIDENCE:
                self._confidence += _CONFIDENCE_STEP
            elif not self._doubled and self.images(problem) < problem.images:
                self._doubled, self._confidence = True, 0.0
                if not self._affordable(problem, 2 * self.images(problem)):
                    break
            else:
                break
            self._known = None
        new = answer not in self._tried
        self._tried.add(answer)  # proposed once, also where the candidates do not allow it
        return new

    def thompson_sample(self, problem: QuantProblem) -> bool:
        """Propose the best configuration of a table drawn at random; return ``False`` if none is new.

        Thompson sampling (Thompson 1933): each cost is drawn with its standard error. So a configuration is tried as
        often as it may be the best, by what is known. Scores come from the drawn table until the next ``update``.
        Only context ``best`` has standard errors.
        """
        self._follow(problem)
        self._table(problem)
        if self._around is None:
            return False
        for _ in range(_MAX_SAMPLES):
            self._drawn = self._around.draw()
            if (answer := self.answer(problem)) not in self._tried:
                self._tried.add(answer)
                return True
        self._drawn = None
        return False

    def answer(self, problem: QuantProblem) -> tuple[int, ...]:
        """Return the best configuration of all layers by the table."""
        return problem.with_fixed((self._drawn or self._table(problem)).knapsack.complete(()))

    def __call__(self, problem: QuantProblem, decided: tuple[int, ...], candidates: Sequence[int]) -> list[float]:
        """Scores of the candidate bit-widths for the next layer, higher is better."""
        self._follow(problem)
        knapsack, layer = (self._drawn or self._table(problem)).knapsack, len(decided)
        if not self.memoization:
            problem.forget()
        if self.context in ("single", "best"):
            if not self.memoization and self.sensitivity == "measured":
                measure_layer(problem, layer, sorted(set(candidates)), self.score, self.images(problem))
            return [-cost for cost in knapsack.least_costs(decided, candidates)]
        unique, others = sorted(set(candidates)), len(problem.searchable) - layer - 1
        if self.context == "prefix":
            rest = [knapsack.cost_to_go((*decided, b)) for b in unique]
            configurations: list[Bits] = [problem.with_fixed((*decided, b, *[None] * others)) for b in unique]
        else:
            rest = [0.0] * len(unique)
            complete = knapsack.complete if self.completion == "ip" else partial(uniform_rest, problem)
            whole = [problem.with_fixed(complete((*decided, b))) for b in unique]
            configurations = [problem.project(bits) for bits in whole]
        costs = problem.compare(
            configurations, self.score, offsets=rest, images=self.images(problem), error_rate=self._error_rate
        )
        return [-costs[unique.index(b)] for b in candidates]

    def replay_scores(self, problem: QuantProblem) -> np.ndarray:
        """Scores for refining replayed states, ``(n, widths)``: those of the table, by look-up."""
        self._follow(problem)
        return -self._table(problem).priced

    def _table(self, problem: QuantProblem) -> SensitivityTable:
        if self._tables is None or self._of is not problem:
            images = self.images(problem)
            if self._from_gradients:
                # For a first answer soon; around it there are more.
                images = min(images, max(_FIRST_IMAGES[0], min(images // 2, _FIRST_IMAGES[1])))
            self._tables = sensitivity_tables(problem, self.sensitivity, self.score, images)
            self._of = problem
            self._around = self._is_around = self._known = None
        if self._best is None:
            return self._tables.alone()
        wanted = self._best, (1 + self._doubled) * self.images(problem)
        if self._is_around != wanted and self._affordable(problem, wanted[1]):
            self._around, self._is_around = self._tables.around(*wanted), wanted
            self._known = None
        if self._around is None:  # the search's limit leaves no work for it
            return self._tables.alone()
        if self._known is None:
            self._known = self._around.table(self._confidence)
        return self._known

    def _affordable(self, problem: QuantProblem, images: int) -> bool:
        """Return whether the search's limit leaves evaluations for a table around the incumbent and a configuration."""
        if problem.most_evaluations == math.inf:
            return True
        assert self._tables is not None
        assert self._best is not None
        needed = self._tables.passes_around(self._best, images) + 1
        return problem.evaluations + needed <= problem.most_evaluations

    def __getstate__(self) -> dict[str, Any]:
        # An agent's file holds no networks and no images.
        return {**self.__dict__, **dict.fromkeys(_NOT_SAVED)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_caution" in state:  # version 0.1, which had neither ``_of`` nor ``_identity``
            state["_confidence"] = state.pop("_caution")
        if "images" in state:  # before gradients
            images = state.pop("images")
            doubled = state.pop("_around_images", images) > images
            state = {"_identity": None, "sensitivity": "measured", "_images": images, "_doubled": doubled, **state}
        self.__dict__.update({**state, **dict.fromkeys(_NOT_SAVED)})


def uniform_rest(problem: QuantProblem, decided: tuple[int, ...]) -> tuple[int, ...]:
    """Complete ``decided`` bits of the first searched layers by the largest bit-width for all others that fits."""
    others = len(problem.searchable) - len(decided)
    for b in range(problem.max_bits, problem.min_bits, -1):
        if problem.fits(problem.with_fixed((*decided, *[b] * others))):
            return (*decided, *[b] * others)
    return (*decided, *[problem.min_bits] * others)


def score_table(indicator: Indicator, problem: QuantProblem) -> np.ndarray:
    """The indicator's scores of every searched layer and bit-width, ``(n, widths)``, for refining replayed states.

    A replayed state does not contain the bits of the layers before it. This package's indicators have
    ``replay_scores`` for that. A plain callable sees uniform bits that fit the budget.
    """
    if isinstance(indicator, DistanceIndicator | ProfilingIndicator):
        return indicator.replay_scores(problem)
    projected = problem.project(problem.with_fixed([problem.max_bits] * len(problem.searchable)))
    uniform = tuple(projected[index] for index in problem.searchable)
    widths = list(range(problem.min_bits, problem.max_bits + 1))
    return np.array([indicator(problem, uniform[:layer], widths) for layer in range(len(uniform))])
