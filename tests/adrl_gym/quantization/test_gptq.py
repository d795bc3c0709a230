"""Error-compensating rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adrl_gym.quantization.gptq import gptq
from adrl_gym.quantization.grid import code_range, nearest, offset
from adrl_gym.quantization.linear import least_error_steps, linear
from adrl_gym.quantization.shortcuts import Gram, factor

BITS = range(1, 9)
quick = settings(max_examples=30, deadline=None)


def random_layer(seed: int, groups: int, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
    """Weights ``(G O, J)`` and second moments ``(G, J, J)`` of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups * outputs, inputs, generator=generator)
    mixing = torch.randn(groups, inputs, inputs, generator=generator)
    x = torch.randn(groups, 4 * inputs, inputs, generator=generator).relu() @ mixing
    return weight, x.mT @ x / (4 * inputs)


def output_error(weight: Tensor, quantized: Tensor, second_moment: Tensor) -> float:
    """Mean squared error of the outputs, summed over them."""
    error = (weight - quantized).double().reshape(len(second_moment), -1, weight.shape[1])  # (G, O, J)
    return float(((error @ second_moment.double()) * error).sum())


def algorithm_1(weight: Tensor, bits: int, second_moment: Tensor) -> Tensor:
    """GPTQ as its paper writes it down: inverse Hessian, columns one by one, all later columns updated."""
    diagonal = second_moment.diagonal().double()
    damping = 0.01 * diagonal.mean()
    importance = diagonal + damping
    importance = (importance / importance.max()).float().expand_as(weight)
    step = least_error_steps(weight, bits, importance)[bits - 1, :, 0].double()  # (O,)
    order = diagonal.argsort(descending=True)
    hessian = second_moment.double()[order][:, order] + damping * torch.eye(len(order))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    left = weight.double()[:, order]
    quantized = torch.zeros_like(left)
    for j in range(len(order)):
        quantized[:, j] = step * nearest(left[:, j] / step, bits)
        error = (left[:, j] - quantized[:, j]) / upper[j, j]
        left[:, j:] -= error[:, None] * upper[j, j:]
    return quantized[:, order.argsort()].float()


@pytest.mark.parametrize("inputs", [1, 20, 150])  # 150 is more than a block
def test_it_is_the_algorithm_of_the_paper(inputs: int) -> None:
    weight, moment = random_layer(0, 1, 3, inputs)
    for bits, quantized in gptq(weight, BITS, moment).items():
        torch.testing.assert_close(quantized, algorithm_1(weight, bits, moment[0]))


@pytest.mark.parametrize("bits", BITS)
def test_output_error_is_below_that_of_nearest_rounding(bits: int) -> None:
    layers = [random_layer(seed, 1, 8, 36) for seed in range(20)]
    compensated = sum(output_error(w, gptq(w, [bits], m)[bits], m) for w, m in layers)
    rounded = sum(output_error(w, linear(w, [bits])[bits], m) for w, m in layers)
    assert compensated < 0.6 * rounded


def test_output_error_falls_with_the_bits_in_the_mean_over_layers() -> None:
    layers = [random_layer(seed, 1, 8, 36) for seed in range(10)]
    quantized = [gptq(w, BITS, m) for w, m in layers]
    errors = [sum(output_error(w, q[bits], m) for (w, m), q in zip(layers, quantized, strict=True)) for bits in BITS]
    assert errors == sorted(errors, reverse=True)


@quick
@given(st.data(), st.integers(1, 8), st.integers(1, 12))
def test_weights_on_the_grid_come_back_bit_for_bit(data: st.DataObject, bits: int, inputs: int) -> None:
    weight, moment = random_layer(data.draw(st.integers(0, 2**32)), 2, 2, inputs)
    lowest, highest = code_range(bits)
    codes = data.draw(st.lists(st.integers(lowest, highest), min_size=4 * inputs, max_size=4 * inputs))
    level = torch.tensor(codes).reshape(4, inputs) + offset(bits)
    level[:, 0] = 1 - offset(bits)
    weight = weight[:, :1].abs() * level
    assert torch.equal(gptq(weight, [bits], moment)[bits], weight)


@quick
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 40), st.floats(1e-6, 1e6))
def test_unrelated_inputs_of_one_scale_are_rounded_to_nearest(
    seed: int, outputs: int, inputs: int, scale: float
) -> None:
    weight, _ = random_layer(seed, 1, outputs, inputs)
    moment = scale * torch.eye(inputs)[None]
    expected = linear(weight, BITS)
    for bits, quantized in gptq(weight, BITS, moment).items():
        assert torch.equal(quantized, expected[bits])


def test_groups_are_separate_layers() -> None:
    weight, moment = random_layer(0, 3, 4, 18)
    together = gptq(weight, BITS, moment)
    for group in range(3):
        rows = slice(4 * group, 4 * group + 4)
        alone = gptq(weight[rows], BITS, moment[group : group + 1])
        for bits in BITS:
            torch.testing.assert_close(together[bits][rows], alone[bits])


def test_bit_widths_made_together_are_those_made_alone() -> None:
    weight, moment = random_layer(0, 1, 4, 18)
    together = gptq(weight, BITS, moment)
    for bits in BITS:
        torch.testing.assert_close(gptq(weight, [bits], moment)[bits], together[bits])


def test_rows_made_in_parts_are_those_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, moment = random_layer(0, 2, 7, 18)
    at_once = gptq(weight, BITS, moment)
    monkeypatch.setattr("adrl_gym.quantization.gptq._AT_ONCE", 8 * 2 * 18 * 3)
    for bits, quantized in gptq(weight, BITS, moment).items():
        torch.testing.assert_close(quantized, at_once[bits])


@quick
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_channels_have_at_most_as_many_levels_as_the_bits_allow(seed: int, bits: int) -> None:
    weight, moment = random_layer(seed, 1, 3, 40)
    for row in gptq(weight, [bits], moment)[bits]:
        assert len(row.unique()) <= 2**bits


@pytest.mark.parametrize("bits", BITS)
def test_dead_inputs_change_nothing_else_and_go_to_the_nearest_level(bits: int) -> None:
    weight, moment = random_layer(0, 1, 6, 12)
    moment[:, 5] = moment[:, :, 5] = 0
    quantized = gptq(weight, [bits], moment)[bits]
    distances = (weight[:, 5, None] - quantized).abs()  # (O, J): to all values that the row has
    torch.testing.assert_close((weight - quantized)[:, 5].abs(), distances.amin(1))


def test_no_inputs_alive_is_nearest_rounding() -> None:
    weight, _ = random_layer(0, 2, 3, 9)
    expected = linear(weight, BITS)
    for bits, quantized in gptq(weight, BITS, torch.zeros(2, 9, 9)).items():
        assert torch.equal(quantized, expected[bits])


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_constant_channels_come_back_bit_for_bit(value: float) -> None:
    weight, moment = random_layer(0, 1, 3, 9)
    weight[1] = value
    for quantized in gptq(weight, BITS, moment).values():
        assert torch.equal(quantized[1], weight[1])
        assert quantized.isfinite().all()


def test_moments_that_rounding_left_indefinite_are_damped_until_they_work() -> None:
    weight, moment = random_layer(0, 1, 4, 30)
    noise = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    indefinite = moment + moment.diagonal(dim1=1, dim2=2).mean() * (noise + noise.T)
    assert torch.linalg.eigvalsh(indefinite).min() < 0
    for quantized in gptq(weight, BITS, indefinite).values():
        assert quantized.isfinite().all()
    for quantized in gptq(weight, BITS, -moment).values():  # not even a positive diagonal
        assert quantized.isfinite().all()


@quick
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 80), st.integers(1, 12), st.integers(1, 40))
def test_feedback_from_samples_is_that_of_their_hessian(
    seed: int, samples: int, inputs: int, rank: int, block: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(rank, inputs, generator=generator, dtype=torch.float64)
    z = torch.randn(samples, rank, generator=generator, dtype=torch.float64) @ mixing  # (P, J)
    hessian = z.T @ z + 0.1 * torch.eye(inputs)
    upper = torch.linalg.cholesky(hessian.flip(0, 1)).flip(0, 1)  # R
    expected = (upper / upper.diagonal()).T.tril(-1)  # R_ij / R_jj at [j, i]
    feedback = factor(z, 0.1, block)
    found = (feedback.weights[0].T @ feedback.samples[0]).tril(-1).double()  # (J, J)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for start in range(0, inputs, block):
        own = expected[start : start + block, start : start + block]
        torch.testing.assert_close(
            feedback.within(start, start + block)[0].double().tril(-1), own, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(("samples", "inputs"), [(1, 1), (3, 20), (20, 150), (200, 90)])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_few_samples_give_what_their_hessian_gives(samples: int, inputs: int, ridge: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(samples, inputs, generator=generator).relu() / samples**0.5
    weight = torch.randn(40, inputs, generator=generator)
    gram = Gram(rows, ridge)
    expected = gptq(weight, BITS, gram.dense())
    for bits, quantized in gptq(weight, BITS, gram).items():
        same = (quantized - expected[bits]).abs() < 1e-4 * expected[bits].abs().amax(1, keepdim=True)
        assert same.float().mean() > 0.999


def test_no_inputs_alive_in_the_samples_is_nearest_rounding() -> None:
    weight, _ = random_layer(0, 1, 3, 9)
    expected = linear(weight, BITS)
    for bits, quantized in gptq(weight, BITS, Gram(torch.zeros(2, 9))).items():
        assert torch.equal(quantized, expected[bits])
