"""What a quantized network makes of images, one by one and in the mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Score = Literal["accuracy", "agreement", "kl", "loss"]
SCORES: tuple[Score, ...] = get_args(Score)
IN_NATS: tuple[Score, ...] = ("kl", "loss")  # the others are counted, image by image


@dataclass(frozen=True)
class Metrics:
    """Means over images.

    Attributes:
        accuracy: share of images with the right label, in percent. Where labels are unknown (data-free
            set) it is the agreement.
        agreement: share of images that get the float network's label, in percent.
        kl: Kullback-Leibler divergence of the quantized from the float network's prediction, in nats.
        loss: cross-entropy of the prediction with the right label, in nats; ``None`` where labels are unknown.
    """

    accuracy: float
    agreement: float
    kl: float
    loss: float | None


@dataclass(frozen=True)
class SampleMetrics:
    """One configuration on ``N`` images.

    Attributes:
        wrong: whether the label is not the right one; bool ``(N,)``.
        disagreeing: whether it is not the float network's; bool ``(N,)``.
        kl: divergence from the float network's prediction, in nats; float32 ``(N,)``.
        loss: cross-entropy with the label, in nats; float32 ``(N,)``, nan where labels are unknown.
    """

    wrong: np.ndarray
    disagreeing: np.ndarray
    kl: np.ndarray
    loss: np.ndarray

    def __len__(self) -> int:
        return len(self.kl)

    def metrics(self) -> Metrics:
        """Means over the images."""
        count = len(self)
        right, agreeing = count - int(self.wrong.sum()), count - int(self.disagreeing.sum())
        kl, loss = (float(column.sum(dtype=np.float64)) / count for column in (self.kl, self.loss))
        return Metrics(100 * right / count, 100 * agreeing / count, kl, None if math.isnan(loss) else loss)

    def costs(self, score: Score) -> np.ndarray:
        """The score as a cost of each image, float64 ``(N,)``: 100 for an error or disagreement, or nats."""
        if score in IN_NATS:
            return (self.kl if score == "kl" else self.loss).astype(np.float64)
        return 100.0 * (self.wrong if score == "accuracy" else self.disagreeing)

    @staticmethod
    def join(parts: Sequence["SampleMetrics"], begin: int, end: int) -> "SampleMetrics":
        """Of several in a row, the images ``begin`` to ``end``."""
        return SampleMetrics(
            np.concatenate([part.wrong for part in parts])[begin:end],
            np.concatenate([part.disagreeing for part in parts])[begin:end],
            np.concatenate([part.kl for part in parts])[begin:end],
            np.concatenate([part.loss for part in parts])[begin:end],
        )


def sample_metrics(logits: Tensor, reference: Tensor, labels: Tensor | None) -> list[SampleMetrics]:
    """SampleMetrics of ``M`` configurations on one slice of images.

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
        if labels is None:
            loss = torch.full_like(kl, torch.nan)  # (M, B)
        else:
            of_label = labels.long().expand(len(q), -1)[..., None]  # (M, B, 1)
            loss = -q.gather(2, of_label)[..., 0].nan_to_num(nan=-torch.inf)  # (M, B)
        flags, nats = (wrong.cpu().numpy(), disagreeing.cpu().numpy()), (kl.float(), loss.float())
        return [SampleMetrics(*rows) for rows in zip(*flags, *(column.cpu().numpy() for column in nats), strict=True)]
