"""Metrics of predictions, image by image."""

import math

import pytest
import torch

from adrl_gym.evaluation.metrics import sample_metrics


@pytest.mark.parametrize("broken", [-math.inf, math.nan])
@pytest.mark.parametrize("positions", [False, True])
def test_logits_that_are_no_numbers_diverge_without_bound(broken: float, positions: bool) -> None:
    reference, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])  # (B, K), (B,)
    logits = torch.tensor([[broken, 0.0], [0.0, 2.0]])  # (B, K)
    if positions:  # one of each image
        reference, logits, labels = reference[:, None], logits[:, None], labels[:, None]
    found = sample_metrics(logits[None], reference, labels)[0]
    assert found.kl[0] == found.loss[0] == math.inf
    assert max(found.kl[1], found.loss[1]) < 1
