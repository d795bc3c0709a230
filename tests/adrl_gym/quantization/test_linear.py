"""Grids, and the quantizer that rounds to the nearest point."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adrl_gym.quantization.grid import code_range, levels, nearest, nested_step, offset, round_in_place, round_to_levels
from adrl_gym.quantization.linear import least_error_steps, linear
from adrl_gym.quantization.shortcuts import peaks

BITS = range(1, 9)
quick = settings(max_examples=30, deadline=None)


@st.composite
def matrices(draw: st.DrawFn) -> Tensor:
    """Weights ``(O, J)`` of all sorts: bell-shaped, heavy-tailed, with zeros, with few values, of any scale."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 40)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    weight = torch.randn(shape, generator=generator)
    kind = draw(st.sampled_from(["bell", "heavy", "sparse", "few", "one-sided"]))
    if kind == "heavy":
        weight = weight**5
    elif kind == "sparse":
        weight = weight * (torch.rand(shape, generator=generator) < 0.3)
    elif kind == "few":
        weight = weight.round()
    elif kind == "one-sided":
        weight = weight.abs() + 1
    return weight * 10 ** draw(st.floats(-6, 6))


@st.composite
def on_grid(draw: st.DrawFn, bits: int) -> Tensor:
    """Rows ``(O, J)`` of a float32 step times levels, the smallest level among them."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    steps = draw(st.lists(st.floats(2**-20, 2**20, width=32), min_size=rows, max_size=rows))
    lowest, highest = code_range(bits)
    codes = draw(st.lists(st.integers(lowest, highest), min_size=rows * columns, max_size=rows * columns))
    level = torch.tensor(codes).reshape(rows, columns) + offset(bits)
    level[:, 0] = 1 - offset(bits)
    return torch.tensor(steps)[:, None] * level


def errors(weight: Tensor, quantized: Tensor) -> Tensor:
    return (weight.double() - quantized).square().sum(1)


@pytest.mark.parametrize("bits", BITS)
def test_levels_are_as_many_as_codes_and_zero_only_from_4_bits_on(bits: int) -> None:
    assert len(levels(bits).unique()) == 2**bits
    assert (0 in levels(bits)) == (bits >= 4)
    assert torch.equal(levels(bits).diff(), torch.ones(2**bits - 1))


@pytest.mark.parametrize("bits", range(2, 9))
def test_levels_nest(bits: int) -> None:
    wide = levels(bits) * nested_step(torch.tensor(1.0), bits)
    assert torch.isin(levels(bits - 1), wide).all()


@pytest.mark.parametrize("bits", BITS)
def test_nearest_level_is_the_nearest(bits: int) -> None:
    x = torch.linspace(-1.3, 1.3, 999) * 2 ** (bits - 1)
    distances = (x[:, None] - levels(bits)).abs()  # (N, levels)
    torch.testing.assert_close((x - nearest(x, bits)).abs(), distances.amin(1))


@quick
@given(st.data(), st.integers(1, 8))
def test_weights_on_the_grid_come_back_bit_for_bit(data: st.DataObject, bits: int) -> None:
    weight = data.draw(on_grid(bits))
    assert torch.equal(linear(weight, [bits])[bits], weight)


@quick
@given(matrices(), st.integers(1, 8))
def test_quantizing_twice_is_quantizing_once(weight: Tensor, bits: int) -> None:
    once = linear(weight, [bits])[bits]
    twice = linear(once, [bits])[bits]
    torch.testing.assert_close(twice, once, rtol=3e-7, atol=0)


@quick
@given(matrices())
def test_squared_error_never_grows_with_the_bits(weight: Tensor) -> None:
    quantized = linear(weight, BITS)
    for bits in range(2, 9):
        more, fewer = errors(weight, quantized[bits]), errors(weight, quantized[bits - 1])
        assert (more <= fewer * (1 + 1e-5)).all()


@quick
@given(matrices())
def test_every_row_is_a_step_times_levels(weight: Tensor) -> None:
    steps = least_error_steps(weight, 8)
    for bits, quantized in linear(weight, BITS).items():
        grid = steps[bits - 1] * levels(bits)  # (O, levels)
        assert all(torch.isin(row, line).all() for row, line in zip(quantized, grid, strict=True))


@quick
@given(matrices(), st.integers(1, 8), st.floats(0.05, 3))
def test_no_other_step_does_much_better(weight: Tensor, bits: int, factor: float) -> None:
    peak = weight.abs().amax(1, keepdim=True)
    other = round_to_levels(weight, factor * peak / levels(bits).max(), bits)
    assert (errors(weight, linear(weight, [bits])[bits]) <= 2 * errors(weight, other) + 1e-12 * peak**2).all()


def test_step_is_near_the_best_of_a_dense_grid() -> None:
    weight = torch.randn(64, 144, generator=torch.Generator().manual_seed(0))
    peak = weight.abs().amax(1, keepdim=True)
    for bits in (2, 3, 4, 6):
        grid = [peak / (2 ** (bits - 1) * clip) for clip in torch.linspace(0.5, 3, 500)]
        dense = torch.stack([errors(weight, round_to_levels(weight, step, bits)) for step in grid]).amin(0)
        found = errors(weight, linear(weight, [bits])[bits])
        assert (found / dense).mean() < 1.02


def test_the_step_serves_the_important_columns() -> None:
    weight = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    importance = torch.full_like(weight, 1e-6)
    importance[:, :5] = 1
    for bits in (2, 3, 4):
        step = least_error_steps(weight, bits, importance)[-1]
        found = errors(weight[:, :5], round_to_levels(weight, step, bits)[:, :5]).sum()
        alone = errors(weight[:, :5], linear(weight[:, :5], [bits])[bits]).sum()
        plain = errors(weight[:, :5], linear(weight, [bits])[bits][:, :5]).sum()
        assert found < 1.2 * alone
        assert found < plain


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-20])
def test_constant_channels_come_back_bit_for_bit(value: float) -> None:
    weight = torch.full((2, 9), value)
    for quantized in linear(weight, BITS).values():
        assert torch.equal(quantized, weight)


def test_bit_widths_made_together_are_those_made_alone() -> None:
    weight = torch.randn(40, 3000, generator=torch.Generator().manual_seed(0))  # more than fits in a cache
    together = linear(weight, BITS)
    assert all(torch.equal(linear(weight, [bits])[bits], together[bits]) for bits in (1, 3, 8))
    assert all(torch.equal(linear(weight[7:8], [bits])[bits], together[bits][7:8]) for bits in BITS)


@quick
@given(st.lists(st.floats(-(2**22), 2**22, width=32), min_size=1, max_size=40), st.sampled_from(["float32", "float64"]))
def test_rounding_in_place_is_rounding(values: list[float], dtype: str) -> None:
    x = torch.tensor(values, dtype=getattr(torch, dtype))
    assert torch.equal(round_in_place(x.clone()), x.round())


@quick
@given(matrices(), st.sampled_from(["none", "alike", "own"]), st.integers(1, 8))
def test_bounds_on_the_errors_change_nothing(weight: Tensor, kind: str, highest: int) -> None:
    importance = None
    if kind != "none":
        importance = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) ** 4
        importance = importance[:1].expand_as(weight) if kind == "alike" else importance
    expected = least_error_steps(weight, highest, importance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peaks, "_LONG", 1)
        assert torch.equal(least_error_steps(weight, highest, importance), expected)


def test_bounds_leave_few_levels_to_try() -> None:
    weight = torch.randn(3, peaks._LONG, generator=torch.Generator().manual_seed(0))
    possible = peaks.PossiblePeaks(8, weight, torch.ones_like(weight)).of(slice(0, 3))
    assert all(1 <= len(own) <= 12 for own in possible)
