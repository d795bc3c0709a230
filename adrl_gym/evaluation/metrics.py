"""What one pass over images says of a quantized network."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Score = Literal["accuracy", "agreement", "kl"]
SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True)
class Metrics:
    """Means over images.

    Attributes:
        accuracy: share of images with the right label, in percent. Where labels are unknown (data-free
            set) it is the agreement.
        agreement: share of images that get the float network's label, in percent.
        kl: Kullback-Leibler divergence of the quantized from the float network's prediction, in nats.
    """

    accuracy: float
    agreement: float
    kl: float

    def cost(self, score: Score) -> float:
        """The score as a cost that is 0 at best: errors or disagreements in percent, or the divergence in nats."""
        return self.kl if score == "kl" else 100 - getattr(self, score)


class Tally:
    """Sums over the images seen so far.

    Every sum is over a cost that is never negative, so it only grows: a candidate whose sum has passed
    that of a rival over all images has lost, whatever the images still to come say.
    """

    def __init__(self) -> None:
        self.images = 0
        self.wrong = 0
        self.disagreeing = 0
        self.kl = 0.0

    def add(self, logits: Tensor, reference: Tensor, labels: Tensor | None) -> None:
        """Count one batch: logits ``(B, K)``, the float network's logits ``(B, K)``, labels ``(B,)``."""
        predicted, expected = logits.argmax(1), reference.argmax(1)  # (B,) each
        self.images += len(logits)
        self.disagreeing += int((predicted != expected).sum())
        self.wrong += int((predicted != (expected if labels is None else labels)).sum())
        p, q = reference.log_softmax(1), logits.log_softmax(1)  # (B, K) each
        # In exact arithmetic no image's divergence is negative; rounding may say -1e-8, and a broken network nan.
        kl = (p.exp() * (p - q)).sum(1).clamp_min(0)  # (B,)
        self.kl += float(torch.nan_to_num(kl, nan=math.inf).double().sum())

    def metrics(self) -> Metrics:
        """Means over the images seen."""
        right, agreeing = self.images - self.wrong, self.images - self.disagreeing
        return Metrics(100 * right / self.images, 100 * agreeing / self.images, self.kl / self.images)

    def least_cost(self, score: Score, images: int) -> float:
        """The smallest cost over ``images`` images that is still possible."""
        if score == "kl":
            return self.kl / images
        return 100 * (self.wrong if score == "accuracy" else self.disagreeing) / images
