"""What a quantized network makes of images, one by one and in the mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
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


@dataclass(frozen=True)
class Outcomes:
    """One configuration on ``N`` images.

    Attributes:
        wrong: whether the label is not the right one; bool ``(N,)``.
        disagreeing: whether it is not the float network's; bool ``(N,)``.
        kl: divergence from the float network's prediction, in nats; float32 ``(N,)``.
    """

    wrong: np.ndarray
    disagreeing: np.ndarray
    kl: np.ndarray

    def __len__(self) -> int:
        return len(self.kl)

    def metrics(self) -> Metrics:
        """Means over the images."""
        count = len(self)
        right, agreeing = count - int(self.wrong.sum()), count - int(self.disagreeing.sum())
        return Metrics(100 * right / count, 100 * agreeing / count, float(self.kl.sum(dtype=np.float64)) / count)

    def costs(self, score: Score) -> np.ndarray:
        """Of each image, float64 ``(N,)``; their mean is ``Metrics.cost``."""
        if score == "kl":
            return self.kl.astype(np.float64)
        return 100.0 * (self.wrong if score == "accuracy" else self.disagreeing)

    @staticmethod
    def join(parts: Sequence["Outcomes"], begin: int, end: int) -> "Outcomes":
        """Of several in a row, the images ``begin`` to ``end``."""
        return Outcomes(
            np.concatenate([part.wrong for part in parts])[begin:end],
            np.concatenate([part.disagreeing for part in parts])[begin:end],
            np.concatenate([part.kl for part in parts])[begin:end],
        )


def compare(logits: Tensor, reference: Tensor, labels: Tensor | None) -> list[Outcomes]:
    """Outcomes of ``M`` configurations on one slice of images.

    Args:
        logits: ``(M, B, K)``.
        reference: the float network's, ``(B, K)``.
        labels: ``(B,)``, or ``None`` where they are unknown.
    """
    with torch.inference_mode():
        predicted, expected = logits.argmax(2), reference.argmax(1)  # (M, B), (B,)
        disagreeing = predicted != expected  # (M, B)
        wrong = disagreeing if labels is None else predicted != labels  # (M, B)
        p, q = reference.log_softmax(1), logits.log_softmax(2)  # (B, K), (M, B, K)
        # In exact arithmetic no image's divergence is negative; rounding may say -1e-8, and a broken network nan.
        kl = (p.exp() * (p - q)).sum(2).clamp_min(0).nan_to_num(nan=torch.inf)  # (M, B)
        columns = wrong.cpu().numpy(), disagreeing.cpu().numpy(), kl.float().cpu().numpy()
        return [Outcomes(*rows) for rows in zip(*columns, strict=True)]
