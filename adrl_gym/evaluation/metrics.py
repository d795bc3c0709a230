"""Metrics of a quantized network, image by image and in the mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from adrl_gym.outputs import IGNORED, by_position

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
        counted: predictions of each image, int32 ``(N,)``, where there is one at every position; the others are then
            sums over an image's positions (``wrong`` and ``disagreeing`` int32). ``None``: one of each image.
    """

    wrong: np.ndarray
    disagreeing: np.ndarray
    kl: np.ndarray
    loss: np.ndarray
    counted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.kl)

    def metrics(self) -> Metrics:
        """Return means over all predictions."""
        count = len(self) if self.counted is None else int(self.counted.sum())
        right, agreeing = count - int(self.wrong.sum()), count - int(self.disagreeing.sum())
        kl, loss = (float(column.sum(dtype=np.float64)) / count for column in (self.kl, self.loss))
        return Metrics(100 * right / count, 100 * agreeing / count, kl, None if math.isnan(loss) else loss)

    def costs(self, score: Score) -> np.ndarray:
        """Return the score as a cost of each image, float64 ``(N,)``: 100 for an error or disagreement, or nats.

        Of predictions at every position, it is their sum.
        """
        if score in IN_NATS:
            return (self.kl if score == "kl" else self.loss).astype(np.float64)
        return 100.0 * (self.wrong if score == "accuracy" else self.disagreeing)

    @staticmethod
    def join(parts: Sequence["SampleMetrics"], begin: int, end: int) -> "SampleMetrics":
        """Return the images ``begin`` to ``end`` of several parts in a row."""
        return SampleMetrics(
            np.concatenate([part.wrong for part in parts])[begin:end],
            np.concatenate([part.disagreeing for part in parts])[begin:end],
            np.concatenate([part.kl for part in parts])[begin:end],
            np.concatenate([part.loss for part in parts])[begin:end],
            None
            if parts[0].counted is None
            else np.concatenate([part.counted for part in parts if part.counted is not None])[begin:end],
        )


def sample_metrics(logits: Tensor, reference: Tensor, labels: Tensor | None) -> list[SampleMetrics]:
    """SampleMetrics of ``M`` configurations on one slice of images.

    Args:
        logits: ``(M, B, K)``, or with a prediction at every position ``(M, B, T, K)`` or ``(M, B, K, H, W)``.
        reference: the float network's, ``(B, K)`` likewise.
        labels: ``(B,)``, ``(B, T)`` or ``(B, H, W)``, or ``None`` where they are unknown.
    """
    if reference.dim() > 2:
        return [_position_metrics(one, reference, labels) for one in logits]
    with torch.inference_mode():
        predicted, expected = logits.argmax(2), reference.argmax(1)  # (M, B), (B,)
        disagreeing = predicted != expected  # (M, B)
        wrong = disagreeing if labels is None else predicted != labels  # (M, B)
        p, q = reference.log_softmax(1), logits.log_softmax(2)  # (B, K), (M, B, K)
        # In exact arithmetic no image's divergence is negative; rounding may say -1e-8, and a broken network nan.
        kl = _or_infinity((p.exp() * (p - q)).sum(2).clamp_min(0))  # (M, B)
        if labels is None:
            loss = torch.full_like(kl, torch.nan)  # (M, B)
        else:
            of_label = labels.long().expand(len(q), -1)[..., None]  # (M, B, 1)
            loss = _or_infinity(-q.gather(2, of_label)[..., 0])  # (M, B)
        flags, nats = (wrong.cpu().numpy(), disagreeing.cpu().numpy()), (kl.float(), loss.float())
        return [SampleMetrics(*rows) for rows in zip(*flags, *(column.cpu().numpy() for column in nats), strict=True)]


def _position_metrics(logits: Tensor, reference: Tensor, labels: Tensor | None) -> SampleMetrics:
    with torch.inference_mode():
        q, p = by_position(logits).log_softmax(2), by_position(reference).log_softmax(2)  # (B, P, K) each
        predicted, expected = q.argmax(2), p.argmax(2)  # (B, P)
        truth = expected if labels is None else labels.long().flatten(1)  # (B, P)
        counted = truth != IGNORED  # (B, P)
        kl = _or_infinity((p.exp() * (p - q)).sum(2).clamp_min(0))  # (B, P)
        loss = torch.full_like(kl, torch.nan)  # (B, P)
        if labels is not None:
            loss = _or_infinity(-q.gather(2, truth.clamp_min(0)[..., None])[..., 0])  # (B, P)
        sums = [
            torch.where(counted, column, torch.zeros_like(column)).sum(1).cpu().numpy()
            for column in ((predicted != truth).int(), (predicted != expected).int(), kl.float(), loss.float())
        ]
        wrong, disagreeing, nats, losses = sums
        return SampleMetrics(
            wrong.astype(np.int32),
            disagreeing.astype(np.int32),
            nats,
            losses,
            counted.sum(1).cpu().numpy().astype(np.int32),
        )


def _or_infinity(nats: Tensor) -> Tensor:
    return torch.where(nats.isnan(), torch.inf, nats)  # (M, B) or (B, P)
