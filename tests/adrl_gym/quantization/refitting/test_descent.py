"""Coordinate descent on codes and scales: less output error than ``gptq`` leaves, on the same kind of grid."""

import pytest
import torch
from torch import Tensor

from adrl_gym.quantization.codes import encode
from adrl_gym.quantization.gptq import gptq
from adrl_gym.quantization.refitting.descent import descend


def layer(groups: int = 2, outputs: int = 8, inputs: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight ``(O, J)``, and the Hessian ``(G, J, J)`` of related inputs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, 300, inputs, generator=generator) @ torch.randn(groups, inputs, inputs, generator=generator)
    return torch.randn(outputs, inputs, generator=generator), x.mT @ x / 300


def errors(weight: Tensor, other: Tensor, hessian: Tensor) -> Tensor:
    """Output error of each row, ``(O,)``."""
    difference = (other - weight).reshape(len(hessian), -1, weight.shape[1]).double()  # (G, O/G, J)
    return (difference @ hessian.double() * difference).sum(2).flatten()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_every_output_errs_no_more_and_the_layer_less(bits: int) -> None:
    weight, hessian = layer()
    before = gptq(weight, [bits], hessian)[bits]
    after = descend(weight, before, bits, hessian)
    damped = hessian + 0.01 * hessian.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(40)
    first, last = errors(weight, before, damped), errors(weight, after, damped)
    assert (last <= 1.0001 * first).all()
    assert last.sum() < (0.9 if bits <= 4 else 1.0) * first.sum()
    assert torch.equal(encode(after, bits, codebook=False, layer="fc").weight, after)


def test_1_bit_of_a_few_inputs_is_the_best_there_is() -> None:
    weight, hessian = layer(groups=1, outputs=6, inputs=6)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6)  # (64, J)
    scales = (signs @ hessian[0] @ weight.T) / (signs @ hessian[0] * signs).sum(1)[:, None]  # (64, O)
    best = torch.stack([errors(weight, scales[i][:, None] * sign, hessian) for i, sign in enumerate(signs)]).amin(
        0
    )  # (O,)
    found = errors(weight, descend(weight, gptq(weight, [1], hessian)[1], 1, hessian), hessian)
    assert (found <= 1.02 * best).double().mean() > 0.6


def test_weights_that_are_on_the_grid_and_dead_rows_and_inputs_stay() -> None:
    weight, hessian = layer()
    on_grid = gptq(weight, [2], hessian)[2]
    on_grid[3] = 0
    hessian[:, 5], hessian[:, :, 5] = 0, 0
    assert torch.equal(descend(on_grid, on_grid, 2, hessian), on_grid)
    assert descend(weight, on_grid, 2, torch.zeros_like(hessian)).isfinite().all()
