"""Properties that all quantizers share, and bias correction."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import find_layers
from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.bias_correction import bias_correction
from adrl_gym.quantization.hessian import collect_inputs
from adrl_gym.quantization.registry import QUANTIZERS, find_quantizer
from adrl_gym.quantization.shortcuts import Gram

BITS = range(1, 9)


def layer(groups: int = 2) -> tuple[Tensor, Tensor]:
    """The weight ``(8, 3, 2, 2)`` of a convolution and the Hessian ``(G, 12, 12)`` of its inputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(groups, 100, 12, generator=generator).relu()
    return torch.randn(8, 3, 2, 2, generator=generator), x.mT @ x / 100


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_bit_width_asked_for_comes_back_in_the_weights_shape(quantizer: str) -> None:
    weight, moment = layer()
    before = weight.clone()
    quantized = find_quantizer(quantizer).quantize(weight, [4, 2], hessian=moment)
    assert list(quantized) == [4, 2]
    for q in quantized.values():
        assert q.shape == weight.shape
        assert q.dtype == torch.float32
        assert q.is_contiguous()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_linear_layers_weights_are_contiguous(quantizer: str) -> None:
    weight, moment = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)), layer(groups=1)[1]
    for q in find_quantizer(quantizer).quantize(weight, BITS, hessian=moment).values():
        assert q.is_contiguous()


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_channels_last_weights_and_parameters_are_weights_too(quantizer: str) -> None:
    weight, moment = layer()
    expected = find_quantizer(quantizer).quantize(weight, BITS, hessian=moment)
    parameter = nn.Parameter(weight.to(memory_format=torch.channels_last))
    for bits, q in find_quantizer(quantizer).quantize(parameter, BITS, hessian=moment).items():
        assert torch.equal(q, expected[bits])
        assert not q.requires_grad


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_weight_of_zeros_stays_zero(quantizer: str) -> None:
    weight, moment = layer()
    for q in find_quantizer(quantizer).quantize(torch.zeros_like(weight), BITS, hessian=moment).values():
        assert torch.equal(q, torch.zeros_like(weight))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_with_the_layers_name(quantizer: str, bad: float) -> None:
    weight, moment = layer()
    weight[3, 1, 0, 1] = bad
    with pytest.raises(AdrlGymError, match=r"layer stage1\.conv.*NaN or infinity"):
        find_quantizer(quantizer).quantize(weight, BITS, hessian=moment, layer="stage1.conv")


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bit_widths_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(AdrlGymError, match=f"layer fc: {bits} is no bit-width; choose one from 1 to 8"):
        find_quantizer("linear").quantize(torch.ones(2, 2), [4, bits], layer="fc")


def test_unknown_quantizers_are_refused() -> None:
    with pytest.raises(AdrlGymError, match="'gtpq'; choose one of gptq, linear, kmeans"):
        find_quantizer("gtpq")


def test_gptq_refuses_moments_that_are_missing_or_of_another_layer() -> None:
    weight, moment = layer()
    with pytest.raises(AdrlGymError, match="layer fc: gptq needs the Hessian"):
        find_quantizer("gptq").quantize(weight, BITS, layer="fc")
    for other in (moment[:, :4, :4], moment[:, 0], torch.cat([moment, moment[:1]])):
        with pytest.raises(AdrlGymError, match=r"layer fc: a Hessian .* does not fit"):
            find_quantizer("gptq").quantize(weight, BITS, hessian=other, layer="fc")
    with pytest.raises(AdrlGymError, match="layer fc: the Hessian of its inputs holds NaN"):
        find_quantizer("gptq").quantize(weight, BITS, hessian=moment * float("nan"), layer="fc")


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_bias_correction_keeps_the_mean_output(quantizer: str, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, padding=1, groups=groups)
    images = torch.randn(20, 4, 6, 6) + 1
    network = nn.Sequential(conv)
    (_, statistics), *_ = collect_inputs(network, find_layers(network, (4, 6, 6)), images)
    with torch.no_grad():
        before = conv(images).mean((0, 2, 3))
        weight = conv.weight.detach().clone()
        quantized = find_quantizer(quantizer).quantize(weight, [2], hessian=statistics.covariance)[2]
        conv.weight.copy_(quantized)
        assert (conv(images).mean((0, 2, 3)) - before).abs().max() > 0.01
        assert conv.bias is not None
        conv.bias += bias_correction(weight, quantized, statistics.mean)
        torch.testing.assert_close(conv(images).mean((0, 2, 3)), before)


def test_with_bias_correction_centred_moments_give_the_smaller_output_error() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 20, generator=generator) @ torch.randn(20, 20, generator=generator) + 5
    weight = torch.randn(30, 20, generator=generator)
    network = nn.Sequential(nn.Linear(20, 30))
    (_, statistics), *_ = collect_inputs(network, find_layers(network, (20,)), x)

    def error(second_moment: Tensor | Gram | None) -> float:
        quantized = find_quantizer("gptq").quantize(weight, [3], hessian=second_moment)[3]
        shift = bias_correction(weight, quantized, statistics.mean)
        return float((x @ (weight - quantized).T - shift).square().mean())

    assert error(statistics.covariance) < error(statistics.hessian)


def test_a_quantizer_that_takes_no_gram_gets_the_hessian() -> None:
    class Recording(Quantizer):
        name, needs_hessian = "recording", True

        def round(self, matrix: Tensor, bits: Sequence[int], hessian: Tensor | Gram | None) -> dict[int, Tensor]:
            assert isinstance(hessian, Tensor)
            torch.testing.assert_close(hessian, gram.dense())
            return dict.fromkeys(bits, matrix)

    gram = Gram(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), 0.5)
    assert list(Recording().quantize(torch.ones(2, 8), [3], hessian=gram)) == [3]
    with pytest.raises(AdrlGymError, match="fit"):
        find_quantizer("gptq").quantize(torch.ones(2, 7), [3], hessian=gram)
    with pytest.raises(AdrlGymError, match="NaN"):
        find_quantizer("gptq").quantize(torch.ones(2, 8), [3], hessian=Gram(gram.rows * torch.nan))
