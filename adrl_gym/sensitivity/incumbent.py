"""Sensitivity around the incumbent: the cost of changing one layer of the best configuration so far."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adrl_gym.evaluation import Score
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import tracked
from adrl_gym.sensitivity.table import finite

REACH = 2  # bits up and down from the configuration that are measured


class IncumbentSensitivity(NamedTuple):
    """Measured costs of changing one layer of a configuration, ``(n, widths)`` both.

    Attributes:
        costs: less what the configuration itself costs.
        errors: their standard errors, from paired differences over the images.
    """

    costs: np.ndarray
    errors: np.ndarray


def measure_around(
    problem: QuantProblem, bits: Sequence[int], score: Score, images: int, alone: np.ndarray
) -> IncumbentSensitivity:
    """Measure every searched layer at every bit-width, the other layers as in a configuration.

    Quantized layers before and after change what a bit is worth. A table of layers alone does not see that. Only
    bit-widths within two of the configuration's are measured; beyond, differences are those of the layer alone.

    Args:
        problem: to profile.
        bits: of all layers, the configuration to measure around.
        score: of the costs, see ``SampleMetrics.costs``.
        images: how many search images.
        alone: ``(n, widths)``, costs of each layer alone.
    """
    alone = finite(alone)
    costs, errors = np.empty_like(alone), np.empty_like(alone)
    images = min(images, problem.images)
    (own,) = problem.costs([bits], score, 0, images)  # (N,)
    for row, layer in enumerate(
        tracked(problem.searchable, "measuring sensitivity", len(problem.searchable), "layers")
    ):
        widths = problem.widths(layer)
        low, high = max(bits[layer] - REACH, widths[0]), min(bits[layer] + REACH, widths[-1])
        near = [(*bits[:layer], b, *bits[layer + 1 :]) for b in range(low, high + 1)]
        first, last = low - problem.min_bits, high - problem.min_bits  # columns
        edge = np.clip(np.arange(alone.shape[1]), first, last)  # (widths,)
        with np.errstate(invalid="ignore"):  # of a broken network, whose cost is infinite
            differences = problem.costs(near, score, 0, images) - own  # (high - low + 1, N)
            costs[row] = differences.mean(axis=1)[edge - first] + alone[row] - alone[row, edge]
            errors[row] = np.nan_to_num(differences.std(axis=1))[edge - first] / np.sqrt(images)
    return IncumbentSensitivity(costs, errors)
