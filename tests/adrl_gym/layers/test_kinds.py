"""Layers of every kind: of all dimensions, transposed, embeddings, with formulas of their own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers import std_conv
from torch import Tensor, nn

from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.evaluation.reference import ReferenceEvaluator
from adrl_gym.export import load_packed, save_packed
from adrl_gym.layers import find_layers, own_params, quantizable
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization.hessian import collect_inputs
from adrl_gym.quantization.patches import chosen_patches, patch_rows


class Conv1D(nn.Module):
    """Transformers' layer of this name."""

    __module__ = "transformers.pytorch_utils"

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.size()[:-1], self.nf)


class Words(nn.Module):
    """Pixels as words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 12)
        self.wide = Conv1D(16, 12)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        words = (x.flatten(1).abs() * 3).long().clamp(max=7)  # (B, T)
        return self.head(self.wide(self.embedding(words)).relu().mean(1))


def convolutions(kind: Any, **keywords: Any) -> nn.Sequential:
    sides = {"1d": 1, "2d": 2, "3d": 3}[kind.__name__[-2:]]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[sides](8)
    return nn.Sequential(
        kind(3, 8, 3, **keywords), norm, nn.ReLU(), kind(8, 6, 2), nn.Flatten(2), Mean(), nn.Linear(6, 5)
    )


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv1d": (lambda: convolutions(nn.Conv1d, padding=1, stride=2), (3, 14)),
    "conv3d": (lambda: convolutions(nn.Conv3d, padding="same", dilation=2), (3, 5, 6, 7)),
    "transposed1d": (lambda: convolutions(nn.ConvTranspose1d, stride=2), (3, 6)),
    "transposed2d": (lambda: convolutions(nn.ConvTranspose2d, stride=3), (3, 6, 6)),
    "transposed3d": (lambda: convolutions(nn.ConvTranspose3d), (3, 4, 4, 4)),
    "words": (Words, (1, 4, 4)),
}


def problem_of(network: nn.Module, shape: tuple[int, ...], **changes: Any) -> QuantProblem:
    torch.manual_seed(1)
    images = torch.randn(40, *shape)
    with torch.no_grad():
        labels = network(images).argmax(1)
    return QuantProblem(network, Splits(ImageSet(images, labels), None, "made", "made"), budget=0.25, **changes)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("quantizer", ["gptq", "linear", "kmeans"])
def test_every_kind_is_quantized_measured_refitted_and_exported(name: str, quantizer: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval()
    problem = problem_of(network, shape, quantizer=quantizer)
    assert problem.unquantized is None
    assert len(problem.layers) == 3
    bits = (2, 3, 4)
    images = problem.splits.search
    expected = ReferenceEvaluator(network, problem.layers, problem._params).logits(images, bits)
    assert torch.allclose(problem.quantized(bits).network(images.images), expected, atol=1e-5)
    agreement = float((expected.argmax(1) == network(images.images).argmax(1)).float().mean())
    assert problem.evaluate(bits).agreement == pytest.approx(100 * agreement)
    eight, one = (problem.evaluate([b] * 3).kl for b in (8, 1))
    assert eight < one / 10
    refitted = problem.quantized(bits, "sequential")
    for quantized in (problem.quantized(bits), refitted):
        save_packed(tmp_path / "file", quantized)
        loaded = load_packed(tmp_path / "file", make().eval())
        assert torch.equal(loaded(images.images), quantized(images.images))


@pytest.mark.parametrize("name", ["conv1d", "conv3d", "transposed2d", "words"])
def test_an_output_channel_has_at_most_so_many_values(name: str) -> None:
    make, shape = NETWORKS[name]
    problem = problem_of(make().eval(), shape)
    for index, layer in enumerate(problem.layers):
        weight = problem.quantized_params(index, 2).weight.movedim(layer.channel_axis, 0)
        assert max(len(row.unique()) for row in weight) <= 4
        assert len(weight.unique()) > 4  # a scale for each channel


def test_patches_are_those_of_the_convolution() -> None:
    for module in (
        nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        nn.Conv3d(4, 6, (3, 2, 1), padding="same", dilation=(1, 2, 1), groups=2, bias=False),
        nn.Conv3d(4, 6, 2, padding=1, padding_mode="replicate", stride=(1, 2, 1), bias=False),
    ):
        x = torch.randn(2, 4, *[5, 6, 7][: len(module.kernel_size)])
        rows = patch_rows(module, x)  # (G, B out, J)
        weight = module.weight.reshape(module.groups, -1, rows.shape[2])  # (G, O/G, J)
        outputs = (weight @ rows.mT).flatten(0, 1)  # (O, B out)
        assert torch.allclose(outputs, module(x).movedim(1, 0).flatten(1), atol=1e-5)
        some = torch.tensor([0, 3, 5])
        assert torch.equal(chosen_patches(module, x, some), rows[:, some].transpose(0, 1))


def test_a_transposed_convolution_s_error_is_what_its_hessian_says_where_places_do_not_meet() -> None:
    module = nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False)
    network, x = nn.Sequential(module, nn.Flatten()).eval(), torch.randn(5, 3, 4, 4)
    ((_, statistics),) = collect_inputs(network, find_layers(network, (3, 4, 4)), x)
    error = module.weight.detach().movedim(1, 0).flatten(1)  # (O, J)
    assert isinstance(statistics.hessian, torch.Tensor)
    said = (error @ statistics.hessian[0] * error).sum(1)  # (O,), over the places of an input position
    assert torch.allclose(said, module(x).square().sum((0, 2, 3)) / (5 * 16), rtol=1e-4)


class Standardised(nn.Conv2d):
    """A weight-standardised convolution."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)  # (O, I, kH, kW)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight[0].numel() ** 0.5, self.bias, self.stride, self.padding)


class Halved(nn.Linear):
    """Its bias is scaled too."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * F.linear(x, self.weight, self.bias)


def own_forward(make: Any) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(make(3, 8, 3), nn.ReLU(), make(8, 8, 3), nn.ReLU(), nn.Flatten(2), Mean(), Halved(8, 6)).eval()


MAKES = [Standardised, std_conv.StdConv2d, std_conv.ScaledStdConv2d, std_conv.ScaledStdConv2dSame]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("calibration", ["independent", "sequential"])
def test_the_scale_of_a_standardised_weight_changes_no_prediction(make: Any, calibration: Any) -> None:
    network, larger = own_forward(make), own_forward(make)
    for index in (0, 2):
        larger.get_parameter(f"{index}.weight").data *= 128
    x = torch.randn(16, 3, 10, 10) + 1
    with torch.no_grad():
        one, other = (problem_of(n, (3, 10, 10)).quantized((2, 2, 3), calibration)(x) for n in (network, larger))
    assert torch.allclose(one, other, atol=1e-2 * float(one.abs().max()))
    assert torch.equal(one.argmax(1), other.argmax(1))


@pytest.mark.parametrize("make", MAKES)
def test_the_mean_output_stays_where_weights_are_standardised(make: Any) -> None:
    network = own_forward(make)
    problem = problem_of(network, (3, 10, 10))
    x = problem.splits.search.images
    quantized = problem.quantized((1, 8, 8)).network
    with torch.no_grad():
        one, other = (n.get_submodule("0")(x).mean((0, 2, 3)) for n in (network, quantized))  # (O,) each
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.equal(network[0](x), quantized.get_submodule("0")(x))


def test_a_layer_whose_bias_is_scaled_is_not_corrected() -> None:
    problem = problem_of(own_forward(Standardised), (3, 10, 10))
    bias = own_params(quantizable(problem.network, problem.layers[2])).bias
    for found in (problem.quantized_params(2, 1).bias, problem._sequential.quantize((8, 8, 1))[2].bias):
        assert found is not None
        assert bias is not None
        assert torch.equal(found, bias)


def test_a_hook_that_scales_an_output_is_corrected_for_what_it_does() -> None:
    network = convolutions(nn.Conv2d).eval()
    network[3].register_forward_hook(lambda _, __, y: y.clamp_min(0))
    network[6].register_forward_pre_hook(lambda _, x: (x[0] * 3,))
    plain = convolutions(nn.Conv2d).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        plain.get_parameter("6.weight").mul_(3)
    plain[3] = nn.Sequential(plain[3], nn.ReLU())
    problem, wanted = problem_of(network, (3, 9, 9)), problem_of(plain, (3, 9, 9))
    x = problem.splits.search.images
    assert torch.allclose(problem.quantized((8, 8, 2))(x), wanted.quantized((8, 8, 2))(x), atol=1e-3)


def test_buffers_of_five_dimensions_do_no_harm() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval()
    network.register_buffer("grid", torch.zeros(1, 2, 3, 4, 5))
    assert problem_of(network, (3, 8, 8)).evaluate((8, 8)).agreement > 90
