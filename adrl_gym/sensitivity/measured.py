"""Sensitivity of each layer alone, measured."""

import math
from collections.abc import Sequence

import numpy as np

from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Score
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import tracked


def measure_sensitivity(problem: QuantProblem, score: Score, images: int, *, most: float = math.inf) -> np.ndarray:
    """Measure every searched layer at every bit-width, all others float; ``(n, widths)``, lower is better.

    All entries see the same images. (Racing was tried and made configurations worse, since it
    leaves costs of different images beside each other.)

    Args:
        problem: to profile.
        score: of the costs, see ``SampleMetrics.costs``.
        images: how many search images.
        most: evaluations that the table may take.

    Raises:
        AdrlGymError: it takes more than ``most``.
    """
    n, widths = len(problem.searchable), list(range(problem.min_bits, problem.max_bits + 1))
    costs, before = np.empty((n, len(widths))), problem.evaluations
    for layer in tracked(range(n), "measuring sensitivity", n, "layers"):
        costs[layer] = measure_layer(problem, layer, widths, score, images)
        if problem.evaluations - before > most:
            raise AdrlGymError(
                f"measuring every layer alone takes more than the {most:g} evaluations that may be spent on it: "
                "raise the limit, or profile on fewer images",
                parameter=("evaluations", "profile_images"),
            )
    return costs


def measure_layer(problem: QuantProblem, layer: int, widths: Sequence[int], score: Score, images: int) -> np.ndarray:
    """Costs of one searched layer alone at some bit-widths, ``(len(widths),)``; see ``measure_sensitivity``."""
    n = len(problem.searchable)
    configurations = [problem.with_fixed([None] * layer + [b] + [None] * (n - layer - 1)) for b in widths]
    return problem.costs(configurations, score, 0, min(images, problem.images)).mean(axis=1)
