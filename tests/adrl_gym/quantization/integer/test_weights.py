"""Integers of a layer's weight and bias, with a batch norm in them."""

import torch
from torch import Tensor

from adrl_gym.quantization.codes import encode
from adrl_gym.quantization.grid import levels
from adrl_gym.quantization.integer.weights import Norm, integer_layer


def rows(bits: int) -> Tensor:
    """Two output channels that have all levels, the first at steps of 0.5, the second at steps of 2."""
    return torch.stack([0.5 * levels(bits), 2 * levels(bits)])


def test_a_norm_changes_scales_and_signs_and_no_integer() -> None:
    weight = encode(rows(4), 4, False, "fc")
    norm = Norm(torch.tensor([3.0, -0.5]).double(), torch.tensor([1.0, -2.0]).double())
    layer = integer_layer(weight, {"bias": norm.shift}, norm, input_scale=0.01)
    assert torch.equal(layer.integers, weight.integers()[0])
    assert torch.equal(layer.float_weight, torch.stack([1.5 * levels(4), -levels(4)]))
    assert layer.biases["bias"].tolist() == [round(1 / (0.01 * 1.5)), round(-2 / (0.01 * 1.0))]


def test_int8_ends_at_127() -> None:
    norm = Norm(torch.tensor([1.0, -1.0]).double(), torch.zeros(2).double())
    layer = integer_layer(encode(rows(8), 8, False, "fc"), {}, norm, input_scale=1.0)
    assert layer.float_weight.amin(1).tolist() == [-64.0, -254.0]
    assert layer.float_weight.amax(1).tolist() == [63.5, 254.0]
    signed = layer.integers * layer.signs[:, None]  # int8 (2, 256)
    assert torch.equal(signed * layer.scales[:, None], layer.float_weight)


def test_the_bias_of_a_dead_channel_fits_int32() -> None:
    weight = encode(torch.tensor([[1e-30, -1e-30], [0.0, 0.0]]), 2, False, "fc")
    biases = {"first": torch.tensor([1.0, 0.0]), "second": torch.tensor([5.0, 0.0])}  # of modules that share the weight
    layer = integer_layer(weight, biases, None, input_scale=0.1)
    torch.testing.assert_close(layer.float_biases, biases)
    assert float(layer.float_weight.abs().max()) < 1e-6
