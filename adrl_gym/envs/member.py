"""One member of a family of problems: a quantization problem under one budget, and the knapsack's answer to it."""

import math
from functools import cached_property

import numpy as np

from adrl_gym.costs import Budget
from adrl_gym.layers import FEATURES, layer_features
from adrl_gym.problem import QuantProblem
from adrl_gym.search_space import SearchSpace
from adrl_gym.sensitivity import SensitivityTable

LEAST_KL = 1e-6  # nats: below this, divergences count as equal
WORST_RATIO = 1.0  # natural logarithm of the largest ratio of divergences that a reward tells apart
OWN_FEATURES = 7  # features besides HAQ's and the sensitivities
_COST_DECADES = -6.0, 2.0  # of a cost over the whole answer's
_LEVEL_DECADES = -4.0, 2.0  # of the answer's predicted divergence in nats


class FamilyMember:
    """One problem under one budget.

    Args:
        problem: network, quantizer and images; its own budget does not count.
        budget: of this member.
        costs: of the problem's layers alone at each bit-width, in nats, ``(n, widths)``.
        interactions: what pairs of layers add, ``(n, widths, n, widths)``; none where it is not known.

    Attributes:
        problem, budget: as given.
        space: the configurations within the budget.
        table: the costs under the budget.
        interactions: as given, or zeros.
        answer: bits of the searched layers that the knapsack chooses on the table.

    Raises:
        AdrlGymError: no configuration of this network meets the budget.
    """

    def __init__(
        self, problem: QuantProblem, budget: Budget, costs: np.ndarray, interactions: np.ndarray | None = None
    ) -> None:
        self.problem, self.budget = problem, budget
        self.space = SearchSpace(problem.layers, problem.config.replace(budget=budget), problem.inputs)
        self.table = SensitivityTable.of(self.space, costs)
        self.interactions = np.zeros((*costs.shape, *costs.shape)) if interactions is None else interactions
        self.answer = self.table.knapsack.complete(())
        sizes = self.table.combined  # (n, widths)
        self._left = len(self.table.sizes) * int(self.table.allowed[0])  # in the combined size of all limits
        self._least, self._most = (
            np.append(of[::-1].cumsum()[::-1], 0) for of in (sizes[:, 0], sizes[:, -1])
        )  # (n+1,)
        self._fixed = self._features()  # (n, features); what decisions change is 0

    @property
    def layers(self) -> int:
        """Number of searched layers: the steps of an episode."""
        return len(self.space.searchable)

    @cached_property
    def knapsack_kl(self) -> float:
        """Divergence of the knapsack's answer from the float network on the search images, in nats."""
        return self.measure(self.answer)

    def measure(self, bits: tuple[int, ...]) -> float:
        """Return the divergence of a configuration of the searched layers on the search images; measured once."""
        return self.problem.evaluate(self.space.with_fixed(bits)).kl

    def reward(self, kl: float) -> float:
        """Return how much less a divergence is than the knapsack's: the logarithm of their ratio, within [-1, 1]."""
        if not math.isfinite(kl):
            return -WORST_RATIO
        ratio = math.log((self.knapsack_kl + LEAST_KL) / (kl + LEAST_KL))
        return min(max(ratio, -WORST_RATIO), WORST_RATIO)

    def observation(self, decided: tuple[int, ...], previous: float) -> np.ndarray:
        """Return the features ``(FEATURES + widths + OWN_FEATURES,)`` of the next layer, or of the last one after it.

        Args:
            decided: bits of the searched layers before.
            previous: action of the layer before, in [0, 1].
        """
        layer = min(len(decided), self.layers - 1)
        before = decided[:layer]
        seen = self._fixed[layer].copy()  # (features,)
        left = self._left - self.table.combined[np.arange(layer), self.table.columns(before)].sum()
        span = max(float(self._most[layer] - self._least[layer]), 1.0)
        choice = self.table.knapsack.complete(before)[layer] - self.space.min_bits
        seen[FEATURES - 1] = previous
        seen[-2] = min(max(float(left - self._least[layer]) / span, 0.0), 1.0)
        seen[-1] = choice / max(self.table.costs.shape[1] - 1, 1)
        return seen

    def _features(self) -> np.ndarray:
        """Return the features that no decision changes, float32 ``(n, FEATURES + widths + OWN_FEATURES)``."""
        layers = [self.problem.layers[place] for place in self.space.searchable]
        weights = np.array([layer.parameters for layer in layers], np.float64)  # (n,)
        columns = self.table.columns(self.answer)  # (n,)
        expected = max(self.table.cost(columns), LEAST_KL)
        share = weights / weights.sum()  # (n,)
        room = float(self._most[0] - self._least[0])
        tightness = (self._left - float(self._least[0])) / max(room, 1.0)
        costs = self.table.costs / expected  # (n, widths)
        places = np.arange(len(layers))
        added = self.interactions[places, columns][:, places, columns].sum(1)  # (n,)
        level = _decades(np.array(expected), *_LEVEL_DECADES)
        alike = np.array([tightness, level, _squashed(added.sum() / expected)]).clip(0, 1)  # (3,)
        own = np.maximum(self.table.costs[places, columns], LEAST_KL)  # (n,)
        parts = [
            layer_features(layers),  # (n, FEATURES)
            _decades(costs, *_COST_DECADES),  # (n, widths)
            np.sqrt(share)[:, None],  # (n, 1)
            np.broadcast_to(alike, (len(layers), 3)),
            _squashed(added / own)[:, None],  # (n, 1)
            np.zeros((len(layers), 2)),  # what is left, and the knapsack's choice
        ]
        return np.concatenate(parts, 1).astype(np.float32)


def _decades(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the decimal logarithms of values, scaled from [low, high] to [0, 1]."""
    scaled: np.ndarray = ((np.log10(np.maximum(values, 10.0**low)) - low) / (high - low)).clip(0, 1)
    return scaled


def _squashed(values: np.ndarray) -> np.ndarray:
    """Return values of any size and sign in (0, 1); 0.5 is 0."""
    return 0.5 + 0.5 * values / (1 + np.abs(values))
