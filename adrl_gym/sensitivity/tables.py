"""Tables of sensitivity for a search: of each layer alone, and around its incumbent; measured, or from gradients."""

import warnings
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
import torch

from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Score
from adrl_gym.problem import QuantProblem
from adrl_gym.sensitivity.expansion import Expansion
from adrl_gym.sensitivity.gradient import GradientSensitivity
from adrl_gym.sensitivity.incumbent import REACH, IncumbentSensitivity, measure_around
from adrl_gym.sensitivity.measured import measure_sensitivity
from adrl_gym.sensitivity.projection import NotDifferentiableError
from adrl_gym.sensitivity.table import SensitivityTable

Sensitivity = Literal["gradient", "measured"]
_MOST_STEPS = 100  # knapsacks solved for one minimum


class Surrogate(Protocol):
    """Prediction of what changing the incumbent costs, as a table whose best configuration is the one to try next."""

    def table(self, confidence: float) -> SensitivityTable:
        """Return the table with each change charged ``confidence`` of its standard errors."""

    def draw(self) -> SensitivityTable:
        """Return a table drawn at random as the images might have been others; uses PyTorch's global generator."""


class TableSource(Protocol):
    """Source of tables for one problem."""

    def alone(self) -> SensitivityTable:
        """Return the costs of each layer alone, the others float."""

    def interactions(self) -> np.ndarray | None:
        """Return what pairs of layers add, ``(n, widths, n, widths)``; none where it is not known."""

    def around(self, bits: Sequence[int], images: int) -> Surrogate:
        """Return the surrogate around a configuration of all layers, from so many images."""

    def passes_around(self, bits: Sequence[int], images: int) -> float:
        """Return the most evaluations that ``around`` takes."""


def sensitivity_tables(
    problem: QuantProblem, sensitivity: Sensitivity, score: Score, images: int, *, most: float = np.inf
) -> TableSource:
    """Return the source of a problem's tables.

    Gradients estimate the score ``kl`` alone. Other scores are measured, and so are predictions at every position, and
    networks that autograd cannot follow, with a warning.

    Args:
        problem: to profile.
        sensitivity: ``gradient`` or ``measured``.
        score: of the costs.
        images: how many search images.
        most: evaluations that a measured table of layers alone may take.

    Raises:
        AdrlGymError: another ``sensitivity``.
    """
    if sensitivity not in get_args(Sensitivity):
        raise AdrlGymError(
            f"unknown sensitivity {sensitivity!r}: choose one of {', '.join(get_args(Sensitivity))}",
            parameter="sensitivity",
        )
    labels = problem.splits.search.labels
    at_positions = labels is not None and labels.dim() > 1
    if sensitivity == "gradient" and score == "kl" and not at_positions:
        try:
            return GradientTables(problem, images)
        except NotDifferentiableError as reason:
            warnings.warn(f"sensitivity is measured, which takes more evaluations: {reason}", stacklevel=2)
    return MeasuredTables(problem, score, images, most)


class MeasuredTables:
    """Measured tables (see ``measure_sensitivity`` and ``measure_around``)."""

    def __init__(self, problem: QuantProblem, score: Score, images: int, most: float = np.inf) -> None:
        self._problem, self._score, self._images, self._most = problem, score, images, most
        self._alone: SensitivityTable | None = None

    def alone(self) -> SensitivityTable:
        """See ``TableSource``."""
        if self._alone is None:
            costs = measure_sensitivity(self._problem, self._score, self._images, most=self._most)
            self._alone = SensitivityTable.of(self._problem, costs)
            self._problem.sensitivity = self._alone.costs
        return self._alone

    def interactions(self) -> None:
        """See ``TableSource``; they would take a measurement for every pair."""

    def around(self, bits: Sequence[int], images: int) -> "MeasuredSurrogate":
        """See ``TableSource``."""
        found = measure_around(self._problem, bits, self._score, images, self.alone().costs)
        return MeasuredSurrogate(self._problem, found)

    def passes_around(self, bits: Sequence[int], images: int) -> float:
        """See ``TableSource``."""
        return 2 * REACH * len(self._problem.searchable) * min(images, self._problem.images) / self._problem.images


class MeasuredSurrogate:
    """Measured costs of changing one layer, which are taken to add up."""

    def __init__(self, problem: QuantProblem, around: IncumbentSensitivity) -> None:
        self._problem, self._around = problem, around

    def table(self, confidence: float) -> SensitivityTable:
        """See ``Surrogate``."""
        return SensitivityTable.of(self._problem, self._around.costs + confidence * self._around.errors)

    def draw(self) -> SensitivityTable:
        """See ``Surrogate``; each cost is drawn with its standard error."""
        noise = torch.randn(self._around.errors.shape, dtype=torch.float64).numpy()
        return SensitivityTable.of(self._problem, self._around.costs + noise * self._around.errors)


class GradientTables:
    """Tables from expansions of the divergence (see ``GradientSensitivity``).

    Raises:
        NotDifferentiableError: autograd cannot follow the network.
    """

    def __init__(self, problem: QuantProblem, images: int) -> None:
        self._problem = problem
        self._sources: dict[int, GradientSensitivity] = {}  # by the number of images
        self._float = self._source(images).expand(problem.with_fixed([None] * len(problem.searchable)))
        self._alone = SensitivityTable.of(problem, self._float.costs())
        problem.sensitivity = self._alone.costs

    def alone(self) -> SensitivityTable:
        """See ``TableSource``; no interactions, which mislead so far from where few bits lead to."""
        return self._alone

    def interactions(self) -> np.ndarray:
        """See ``TableSource``; from the same expansion as the costs, and so without evaluations of their own."""
        return self._float.interactions()

    def around(self, bits: Sequence[int], images: int) -> "GradientSurrogate":
        """See ``TableSource``."""
        return GradientSurrogate(self._problem, self._source(images).expand(bits, REACH), bits)

    def passes_around(self, bits: Sequence[int], images: int) -> float:
        """See ``TableSource``."""
        return self._source(images).passes(bits, REACH)

    def _source(self, images: int) -> GradientSensitivity:
        if images not in self._sources:
            self._sources[images] = GradientSensitivity(self._problem, images)
        return self._sources[images]


class GradientSurrogate:
    """Second-order expansion around a configuration, interactions between layers included.

    Its minimum under the budget is found by knapsacks: the costs of one further change are linear in the layers, so the
    knapsack on them is a step. Where a step makes the expansion no better, its changes interact; each change is then
    charged a penalty, which grows until the step is better or empty. The last table has the minimum as its best
    configuration, so an episode's decisions follow from it layer by layer.

    Args:
        problem: whose budget holds.
        expansion: around ``bits``.
        bits: of all layers.
    """

    def __init__(self, problem: QuantProblem, expansion: Expansion, bits: Sequence[int]) -> None:
        self._problem, self._expansion = problem, expansion
        self._own = np.array([bits[layer] - problem.min_bits for layer in problem.searchable])  # (n,) columns
        self._errors = expansion.errors()  # (n, widths), 0 at the configuration's own bits

    def table(self, confidence: float) -> SensitivityTable:
        """See ``Surrogate``."""
        return self._minimise(confidence, None)

    def draw(self) -> SensitivityTable:
        """See ``Surrogate``; the images are drawn with replacement (bootstrap)."""
        images = len(self._expansion.first)
        counts = torch.randint(images, (images,)).bincount(minlength=images)  # (N,)
        return self._minimise(0.0, counts.double().numpy() / images)

    def _minimise(self, confidence: float, weights: np.ndarray | None) -> SensitivityTable:
        layers = np.arange(len(self._own))
        charge = confidence * self._errors  # (n, widths)

        def value(columns: np.ndarray) -> float:
            return self._expansion.change(columns, weights) + float(charge[layers, columns].sum())

        columns, penalty = self._own, 0.0
        for _ in range(_MOST_STEPS):
            step = self._expansion.costs_at(columns, weights) + charge - charge[layers, columns, None]  # (n, widths)
            changed = np.arange(step.shape[1]) != columns[:, None]  # (n, widths)
            table = SensitivityTable.of(self._problem, step + penalty * changed)
            after = table.columns(table.knapsack.complete(()))  # (n,)
            if (after == columns).all():
                break
            if value(after) < value(columns):
                columns = after
            else:
                gain = -float(step[layers, after].sum())  # that did not come
                penalty = max(2 * penalty, gain / (4 * int((after != columns).sum())))
        return table
