"""Columns of what a network does on test images, the same in every file of results."""

import math

from adrl_gym.evaluation import Metrics

BESIDE_ACCURACY = ("test_agreement", "test_kl", "test_loss")


def test_columns(test: Metrics) -> dict[str, float | str]:
    """Return ``test_accuracy``, ``test_agreement`` (percent), ``test_kl`` and ``test_loss`` (nats).

    What is unknown or not finite stays empty.
    """
    return {
        "test_accuracy": round(test.accuracy, 4),
        "test_agreement": round(test.agreement, 4),
        "test_kl": nats(test.kl),
        "test_loss": nats(test.loss),
    }


def nats(value: float | None) -> float | str:
    """Return a divergence or a loss as it is written."""
    return round(value, 6) if value is not None and math.isfinite(value) else ""
