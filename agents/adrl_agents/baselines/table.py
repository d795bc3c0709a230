"""The measured table of layer sensitivities that some searches start from."""

import math

from adrl_gym import QuantProblem
from adrl_gym.evaluation import Score
from adrl_gym.sensitivity import SensitivityTable, measure_sensitivity


def measured_table(
    problem: QuantProblem, *, score: Score, profile_images: int, evaluations: int | None
) -> SensitivityTable:
    """Measure every searched layer alone at every bit-width.

    Args:
        problem: to search.
        score: of the costs.
        profile_images: how many search images to measure on.
        evaluations: most passes that the whole search may take; ``None`` for no limit.

    Raises:
        AdrlGymError: the table leaves no evaluation to try a configuration with.
    """
    most = math.inf if evaluations is None else evaluations - 1
    return SensitivityTable.of(problem, measure_sensitivity(problem, score, profile_images, most=most))
