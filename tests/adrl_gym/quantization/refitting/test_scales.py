"""Scales of outputs: the power of the float network's, and the temperature of least divergence."""

import pytest
import torch

from adrl_gym.quantization.codes import encode
from adrl_gym.quantization.linear import linear
from adrl_gym.quantization.refitting.scales import gains, rescale, temperature


def test_the_temperature_undoes_a_factor_and_leaves_what_needs_none() -> None:
    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    assert temperature(logits, logits / 1.3) == pytest.approx(1.3, abs=1e-4)
    assert temperature(logits, logits / 0.9) == pytest.approx(0.9, abs=1e-4)
    assert temperature(logits[:, :1], logits[:, :1] / 2) == 1.0, "a single class"


def test_rescaled_weights_stay_on_their_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, factor = torch.randn(4, 3, 5, generator=generator), torch.tensor([1.1, 0.9, 1.3, 1.0])
    quantized = linear(weight.flatten(1), [3])[3].reshape(weight.shape)
    scaled = rescale(quantized, factor, 3, codebook=False, layer="fc")
    torch.testing.assert_close(scaled, quantized * factor[:, None, None])
    assert torch.equal(encode(scaled, 3, codebook=False, layer="fc").weight, scaled)
    values = torch.tensor([-1.0, 0.1, 0.5])[torch.randint(3, (4, 6), generator=generator)]
    both = rescale(values, torch.full((4,), 1.5), 2, codebook=True, layer="fc")
    torch.testing.assert_close(both, 1.5 * values)
    assert len(both.unique()) == 3


def test_gains_restore_power_within_bounds() -> None:
    found = gains(torch.tensor([4.0, 1.0, 0.0, 9.0, 1.0]), torch.tensor([1.0, 1.44, 1.0, 0.0, 0.01]))
    torch.testing.assert_close(found, torch.tensor([2.0, 1 / 1.2, 1.0, 1.0, 2.0]))
