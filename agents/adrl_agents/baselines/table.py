"""The table of layer sensitivities that some searches start from."""

import math
from typing import TypedDict, Unpack

from adrl_gym import QuantProblem
from adrl_gym.evaluation import Score
from adrl_gym.sensitivity import Sensitivity, SensitivityTable, sensitivity_tables


class TableSettings(TypedDict):
    """Settings of a search that starts from a table.

    Attributes:
        sensitivity: from gradients (of the score ``kl``), or measured.
        score: of the costs.
        profile_images: how many search images to profile on.
        evaluations: most passes that the whole search may take; ``None`` for no limit.
    """

    sensitivity: Sensitivity
    score: Score
    profile_images: int
    evaluations: int | None


def table_of(problem: QuantProblem, **settings: Unpack[TableSettings]) -> SensitivityTable:
    """Return the cost of every searched layer alone at every bit-width.

    Raises:
        AdrlGymError: the table leaves no evaluation to try a configuration with.
    """
    limit = settings["evaluations"]
    most = math.inf if limit is None else limit - 1
    tables = sensitivity_tables(
        problem, settings["sensitivity"], settings["score"], settings["profile_images"], most=most
    )
    return tables.alone()
