"""The Q-value indicator of D-ADRL: the value of a candidate bit-width by the weights that it leaves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adrl_gym import QuantProblem
from adrl_gym.sensitivity import SensitivityTable


class DistanceIndicator:
    """D-ADRL: score bit-widths by the distance of the quantized weights from the float ones.

    A candidate's cost is its layer's squared error over squared weights, plus the cost-to-go by the same measure: the
    least that later layers cost within the budget that is left.
    """

    def __init__(self) -> None:
        self._known: SensitivityTable | None = None
        self._of: QuantProblem | None = None  # whose table it is

    def __call__(self, problem: QuantProblem, decided: tuple[int, ...], candidates: Sequence[int]) -> list[float]:
        """Scores of the candidate bit-widths for the next layer, higher is better."""
        return [-cost for cost in self._table(problem).knapsack.least_costs(decided, candidates)]

    def replay_scores(self, problem: QuantProblem) -> np.ndarray:
        """Scores for refining replayed states, ``(n, widths)``."""
        return -self._table(problem).priced

    def _table(self, problem: QuantProblem) -> SensitivityTable:
        if self._known is None or self._of is not problem:
            self._known, self._of = SensitivityTable.of(problem, problem.distances[list(problem.searchable)]), problem
        return self._known

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None, "_of": None}  # an agent's file holds no networks and no images

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"_of": None, **state})  # version 0.1 had no ``_of``
