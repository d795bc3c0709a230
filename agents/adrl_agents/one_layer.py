"""The one-layer table: what each layer costs at each bit-width while all others are float."""

import math

import numpy as np
from tqdm import tqdm

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.evaluation import Score


def one_layer_costs(problem: QuantProblem, score: Score, images: int, most: float = math.inf) -> np.ndarray:
    """Costs ``(n, widths)`` under ``score`` (see ``Metrics.cost``), lower is better; column 0 is the lowest bit-width.

    Args:
        problem: to be measured.
        score: ``accuracy``, ``agreement`` or ``kl``.
        images: how many search images; the table takes at most ``n * widths * images`` over all of them evaluations.
        most: evaluations that it may take.

    Raises:
        AdrlGymError: it takes more than ``most``.
    """
    n, widths = len(problem.layers), range(problem.lowest, problem.highest + 1)
    costs, before = np.empty((n, len(widths))), problem.evaluations
    for layer in tqdm(range(n), "profiling layers", leave=False, disable=None):
        for column, b in enumerate(widths):
            alone = [None] * layer + [b] + [None] * (n - layer - 1)
            costs[layer, column] = problem.profile(alone, score, images)
            if problem.evaluations - before > most:
                raise AdrlGymError(
                    f"measuring every layer alone takes more than the {most:g} evaluations that may be spent on it: "
                    "raise --evaluations, or lower --profile-images"
                )
    return costs
