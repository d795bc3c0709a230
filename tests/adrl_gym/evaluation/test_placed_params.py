"""Weights that runners compute with: made when asked for, and not all kept of large layers."""

import weakref

import pytest
import torch

from adrl_gym.evaluation.placed_params import PlacedParams
from adrl_gym.layers import QuantizedParams


def made(inputs: int) -> PlacedParams:
    """Weights ``(512, inputs)`` that equal their bit-width."""
    source = {bits: QuantizedParams(torch.full((512, inputs), float(bits)), None) for bits in range(1, 9)}
    return PlacedParams(source, QuantizedParams(torch.zeros(512, inputs), None))


@pytest.mark.parametrize(("inputs", "kept"), [(511, True), (512, False)])
def test_large_layer_keeps_only_asked_widths(inputs: int, kept: bool) -> None:
    """From a MiB on, the weights of other bit-widths are let go, and made anew when they are asked for."""
    params = made(inputs)
    params.prepare([2, 3])
    two, three = (weakref.ref(params[bits].weight) for bits in (2, 3))
    params.prepare([3, None])
    assert (two() is not None) == kept
    assert three() is params[3].weight
    assert float(params[2].weight.mean()) == 2
    assert float(params[None].weight.mean()) == 0
