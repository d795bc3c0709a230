"""The codebook quantizer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adrl_gym.quantization.kmeans import kmeans

BITS = range(1, 9)
quick = settings(max_examples=40, deadline=None)
floats = st.floats(-1e6, 1e6, width=32)


def error(weight: Tensor, quantized: Tensor) -> float:
    return float((weight.double() - quantized).square().sum())


@st.composite
def layers(draw: st.DrawFn) -> Tensor:
    """Weights ``(N,)``, few and arbitrary or many and random."""
    if draw(st.booleans()):
        return torch.tensor(draw(st.lists(floats, min_size=1, max_size=60)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return torch.randn(draw(st.integers(1, 2000)), generator=generator) ** draw(st.sampled_from([1, 3, 5]))


@quick
@given(layers())
def test_squared_error_never_grows_with_the_bits(weight: Tensor) -> None:
    quantized = kmeans(weight, BITS)
    noise = 1e-12 * error(weight, torch.zeros(()))
    for bits in range(2, 9):
        assert error(weight, quantized[bits]) <= error(weight, quantized[bits - 1]) * (1 + 1e-6) + noise


@quick
@given(layers())
def test_codebook_is_no_larger_than_the_bits_allow(weight: Tensor) -> None:
    for bits, quantized in kmeans(weight, BITS).items():
        assert len(quantized.unique()) <= 2**bits


@quick
@given(st.data(), st.integers(1, 8))
def test_few_values_come_back_bit_for_bit(data: st.DataObject, bits: int) -> None:
    values = data.draw(st.lists(floats, min_size=1, max_size=2**bits))
    weight = torch.tensor(data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=400)))
    assert torch.equal(kmeans(weight, [bits])[bits], weight)


def test_neighbouring_floats_are_told_apart() -> None:
    one = torch.tensor(1.0)
    weight = torch.stack([one, one.nextafter(2 * one), one.nextafter(0 * one), -one])
    assert torch.equal(kmeans(weight, [2])[2], weight)


@quick
@given(layers(), st.integers(1, 8))
def test_every_weight_goes_to_the_nearest_value(weight: Tensor, bits: int) -> None:
    quantized = kmeans(weight, [bits])[bits]
    distances = (weight[:, None] - quantized.unique()).abs()  # (N, values)
    close = 1e-6 * weight.abs().max()
    assert ((weight - quantized).abs() <= distances.amin(1) + close).all()


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_error_is_close_to_the_least_possible(bits: int) -> None:
    """Panter and Dite's formula for the best quantizer of normal weights; it is exact for many levels."""
    weight = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    least = 3**0.5 * torch.pi / 2 / 4**bits
    mean = error(weight, kmeans(weight, [bits])[bits]) / len(weight)
    assert mean < 1.15 * least


def test_bit_widths_made_together_are_those_made_alone() -> None:
    weight = torch.randn(16, 30, generator=torch.Generator().manual_seed(0))
    together = kmeans(weight, BITS)
    assert all(torch.equal(kmeans(weight, [bits])[bits], together[bits]) for bits in BITS)
    assert together[3].shape == weight.shape
