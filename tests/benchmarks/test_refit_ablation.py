"""The ablation of the refit: each variant leaves out what its name says, and finished rows stay."""

import importlib
from typing import Any

import pytest
import torch

from benchmarks.searches import refit_ablation
from benchmarks.searches.refit_ablation import VARIANTS, _without

sequential: Any = importlib.import_module("adrl_gym.quantization.sequential")


@pytest.mark.parametrize("made", VARIANTS)
def test_variants_leave_out_their_parts_for_a_while(made: str) -> None:
    variant, before = VARIANTS[made], (sequential.descend, sequential.rescale, sequential.temperature)
    weight, other = torch.zeros(2, 3), torch.ones(2, 3)
    with _without(variant):
        assert (sequential.descend is before[0]) == variant.descent
        assert (sequential.rescale is before[1]) == variant.variance
        if not variant.descent:
            assert sequential.descend(weight, other, 2, torch.eye(3)[None]) is other
        if not variant.variance:
            assert sequential.rescale(weight, torch.ones(2), 2, codebook=False, layer="fc") is weight
            assert sequential.temperature(weight, other) == 1.0
    assert (sequential.descend, sequential.rescale, sequential.temperature) == before
    assert refit_ablation.VARIANTS["refit"] == refit_ablation.Variant()
