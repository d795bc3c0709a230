"""The log of a finetuning: what is measured after each epoch."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import nn

from adrl_gym.datasets import Images
from adrl_gym.evaluation import Metrics, Precision, sample_metrics
from adrl_gym.qat.teacher import FloatTeacher
from adrl_gym.quantization import QuantizedNetwork


@dataclass(frozen=True)
class Epoch:
    """One row of the log; epoch 0 is the start, before any training.

    Attributes:
        epoch: its number.
        learning_rate: at its end.
        loss: mean over its steps; ``None`` for epoch 0.
        search_accuracy: in percent; without labels, agreement with the float network.
        test_accuracy: in percent; ``None`` where there are no test images. Nothing is chosen by it.
        test_agreement: with the float network, in percent.
        test_kl: divergence from the float network's prediction, in nats; ``None`` where it is not finite.
        test_loss: cross-entropy with the labels, in nats; ``None`` without labels, and where it is not finite.
        search_kl: divergence from the float network's prediction on the search images, in nats; likewise.

    The last four are ``None`` in a log that an earlier version began, and those of the test without test images.
    """

    epoch: int
    learning_rate: float
    loss: float | None
    search_accuracy: float
    test_accuracy: float | None
    test_agreement: float | None = None
    test_kl: float | None = None
    test_loss: float | None = None
    search_kl: float | None = None


@dataclass(frozen=True)
class Finetuned:
    """A finetuning, finished or not.

    Attributes:
        network: the best so far: of least ``search_kl``, or, without distillation, of the highest search accuracy.
        best: its epoch; of several that are as good, the last one.
        epochs: all so far, from 0 on.
        float_search_accuracy, float_test_accuracy: of the float network on the same images.
        precision: of the passes in training.
        float_test_loss: of the float network on the test images, in nats; ``None`` without them or their labels.
    """

    network: QuantizedNetwork
    best: Epoch
    epochs: tuple[Epoch, ...]
    float_search_accuracy: float
    float_test_accuracy: float | None
    precision: Precision
    float_test_loss: float | None = None


class EpochMeasure:
    """Measure a network as the search measured it: in float32, with batch norm folded."""

    def __init__(self, network: nn.Module, search: Images, test: Images | None, device: torch.device) -> None:
        self._search, self._test, self._device = search, test, device
        predictor = FloatTeacher(network, search, device)
        self._expected = predictor.logits(search)  # (N, K)
        self._expected_test = None if test is None else predictor.logits(test)  # (M, K)
        self.reference = self._metrics(predictor)

    def __call__(self, number: int, learning_rate: float, loss: float | None, network: nn.Module) -> Epoch:
        """Return the row of an epoch, whose number, learning rate and loss are given."""
        search, test = self._metrics(FloatTeacher(network, self._search, self._device))
        epoch = Epoch(number, learning_rate, loss, search.accuracy, None, search_kl=finite_or_none(search.kl))
        if test is None:
            return epoch
        return dataclasses.replace(
            epoch,
            test_accuracy=test.accuracy,
            test_agreement=test.agreement,
            test_kl=finite_or_none(test.kl),
            test_loss=finite_or_none(test.loss),
        )

    def _metrics(self, predictor: FloatTeacher) -> tuple[Metrics, Metrics | None]:
        logits = predictor.logits(self._search)  # (N, K)
        search = sample_metrics(logits[None], self._expected, self._search.labels)[0].metrics()
        if self._test is None or self._expected_test is None:
            return search, None
        logits = predictor.logits(self._test)  # (M, K)
        return search, sample_metrics(logits[None], self._expected_test, self._test.labels)[0].metrics()


def finite_or_none(nats: float | None) -> float | None:
    """Return a divergence or a loss where it is a number."""
    return nats if nats is not None and math.isfinite(nats) else None
