"""Least squares from other inputs, their patches, and its primal and dual form, which agree."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_gym.quantization import least_squares
from adrl_gym.quantization.least_squares import RIDGES, Inputs
from adrl_gym.quantization.patches import output_size, patches_at
from adrl_gym.quantization.shortcuts import Gram, gram

quick = settings(max_examples=40, deadline=None)


def random_inputs(seed: int, positions: int, groups: int, inputs: int, rank: int) -> tuple[Tensor, Tensor]:
    """Inputs ``(P, G, J)`` of that rank at most, and the same with noise in the same subspace; float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(groups, rank, inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(groups, positions, rank, generator=generator, dtype=torch.float64)
    noise = torch.randn(groups, positions, rank, generator=generator, dtype=torch.float64)
    return (x @ mixing).movedim(0, 1), ((x + 0.3 * noise) @ mixing).movedim(0, 1)


def dense(hessian: Tensor | Gram) -> Tensor:
    """The same as a tensor."""
    return hessian.dense() if isinstance(hessian, Gram) else hessian


@quick
@given(
    seed=st.integers(0, 2**32),
    positions=st.integers(1, 12),
    groups=st.integers(1, 3),
    outputs=st.integers(1, 5),
    inputs=st.integers(1, 30),
    rank=st.integers(1, 12),
    ridge=st.sampled_from(RIDGES),
)
def test_the_dual_form_gives_what_the_primal_one_gives(
    seed: int, positions: int, groups: int, outputs: int, inputs: int, rank: int, ridge: float
) -> None:
    x, x_q = random_inputs(seed, positions, groups, inputs, rank)
    primal = least_squares._moments(x, x_q, positions)
    dual = least_squares._samples(x, x_q, positions)
    weight = torch.randn(groups, outputs, inputs, generator=torch.Generator().manual_seed(seed)).double()
    wanted = primal.least_squares(weight, ridge, torch.float64)
    torch.testing.assert_close(dual.least_squares(weight, ridge, torch.float64), wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dense(dual.hessian(ridge)), primal.hessian(ridge), rtol=1e-12, atol=1e-12)
    scale = float(x.square().sum() + x_q.square().sum()) * float(weight.square().sum())
    zero = primal.error(weight, torch.zeros_like(weight)) - dual.error(weight, torch.zeros_like(weight))
    assert primal.error(weight, wanted) - dual.error(weight, wanted) == pytest.approx(zero, abs=1e-10 * scale)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("positions", [1, 2, 9])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_layer_of_many_inputs_gets_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, centred: bool, positions: int, groups: int
) -> None:
    x, x_q = (part + 1 for part in random_inputs(0, positions, groups, 40, 40))
    weight = torch.randn(groups * 3, 10, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    monkeypatch.setattr(least_squares, "RIDGES", (0.1,))  # in float32, the primal form may choose another one
    wanted, hessian = Inputs(x, x_q, centred).target(weight)
    monkeypatch.setattr(gram, "_INPUTS", 1)
    inputs = Inputs(x, x_q, centred)
    assert isinstance(inputs._whole, least_squares._Samples)
    for found, expected in zip(inputs.target(weight), (wanted, hessian), strict=True):
        found, expected = dense(found), dense(expected)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_few_inputs_and_many_positions_keep_the_primal_form(monkeypatch: pytest.MonkeyPatch) -> None:
    x, x_q = random_inputs(0, 30, 1, 40, 40)
    assert isinstance(Inputs(x, x_q, True)._whole, least_squares._Moments)  # few inputs
    monkeypatch.setattr(gram, "_INPUTS", 1)
    assert isinstance(Inputs(x, x_q, True)._whole, least_squares._Moments)  # many positions


def test_nan_is_found_in_the_dual_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "_INPUTS", 1)
    x, x_q = random_inputs(0, 3, 1, 40, 40)
    assert Inputs(x, x_q, True).finite
    x_q[1, 0, 7] = torch.nan
    assert not Inputs(x, x_q, True).finite


def test_least_squares_finds_the_weights_that_undo_what_was_done_to_the_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 2, 3, generator=generator)  # (P, G, J)
    mix = torch.eye(3) + 0.3 * torch.randn(2, 3, 3, generator=generator)  # (G, J, J)
    weight = torch.randn(4, 3, generator=generator)
    inputs = Inputs(x, (x[:, :, None] @ mix)[:, :, 0] + 5, centred=True)
    target, hessian = inputs.target(weight)
    expected = (weight.reshape(2, 2, 3) @ torch.linalg.inv(mix).mT).reshape(4, 3)
    assert hessian.shape == (2, 3, 3)
    torch.testing.assert_close(target, expected, rtol=0, atol=0.1)
    assert (target - expected).norm() < 0.2 * (weight - expected).norm()
    mean_output = (weight.reshape(2, 2, 3) @ x.mean(0)[:, :, None]).flatten()
    delivered = (target.reshape(2, 2, 3) @ ((x[:, :, None] @ mix)[:, :, 0] + 5).mean(0)[:, :, None]).flatten()
    torch.testing.assert_close(delivered + inputs.shift(weight, target), mean_output, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.Conv2d(4, 8, (2, 3), stride=(2, 1), padding=(0, 2), dilation=(2, 1), groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding="same", groups=4, padding_mode="reflect", bias=False),
    ],
)
def test_patches_at_all_positions_give_the_convolution(module: nn.Conv2d) -> None:
    x = torch.randn(3, 4, 7, 9, generator=torch.Generator().manual_seed(0))
    y = module(x)  # (B, O, H, W)
    assert output_size(module, x) == y.shape[2:]
    patches = patches_at(module, x, torch.arange(y[:, 0].numel()))  # (P, G, J)
    weight = module.weight.reshape(module.groups, -1, patches.shape[2])  # (G, O/G, J)
    found = torch.einsum("pgj,goj->pgo", patches, weight).flatten(1)  # (P, O)
    torch.testing.assert_close(found, y.movedim(1, 3).flatten(0, 2), rtol=1e-4, atol=1e-5)
