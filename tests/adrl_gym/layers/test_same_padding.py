"""Convolutions that pad their input themselves, as plain ones: the same outputs, and batch norms that fold."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.graph import partition_network
from adrl_gym.layers import find_layers, is_plain, with_plain_convolutions
from adrl_gym.problem import QuantProblem


class Same(nn.Conv2d):
    """TensorFlow's padding, as timm's ``Conv2dSame`` computes it."""

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for size, kernel, stride in reversed([*zip(x.shape[2:], self.kernel_size, self.stride, strict=True)]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Standardised(Same):
    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return F.conv2d(x, weight, self.bias, padding=1)  # (B, O, H, W)


class Doubled(Same):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)  # (B, O, H, W)


def network(*convolutions: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for convolution in convolutions:
        norm = nn.BatchNorm2d(convolution.out_channels)  # type: ignore[arg-type]
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias)
        layers += [convolution, norm, nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()


def hooked() -> nn.Module:
    convolution = Same(4, 6, 3)
    convolution.register_forward_hook(lambda _module, _inputs, y: y + 1)
    return convolution


@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
def test_stride_1_becomes_plain_with_the_same_outputs_and_weights(size: tuple[int, int]) -> None:
    own = network(Same(3, 4, (3, 5)), Same(4, 4, 5, groups=4, bias=False), Same(4, 6, 1))
    before, state = copy.deepcopy(own), own.state_dict()
    plain = with_plain_convolutions(own, (3, *size))
    assert [type(plain.get_submodule(name)) for name in "036"] == [nn.Conv2d] * 3
    assert [type(own.get_submodule(name)) for name in "036"] == [Same] * 3, "the network given stays as it is"
    assert plain.state_dict().keys() == state.keys()
    x = torch.randn(4, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(plain(x), before(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "convolution",
    [
        Same(4, 6, 3, stride=2),  # one row more below than above
        Same(4, 6, 4),  # likewise
        Standardised(4, 6, 3),
        Doubled(4, 6, 3),
        hooked(),
    ],
)
def test_what_no_even_padding_explains_stays(convolution: nn.Module) -> None:
    own = network(nn.Conv2d(3, 4, 1), convolution)
    assert with_plain_convolutions(own, (3, 8, 8)) is own


def test_a_module_that_is_used_at_two_places_must_be_explained_at_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = Sometimes(3, 3, 3)

        def forward(self, x: Tensor) -> Any:
            return self.conv(self.conv(x)[:, :, :4])  # (B, 3, 4, W)

    class Sometimes(Same):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.shape[2] > 4 else F.conv2d(x, self.weight, self.bias, padding=(1, 0))

    own = Twice().eval()
    assert with_plain_convolutions(own, (3, 8, 8)) is own


def test_batch_norms_fold_and_a_problem_measures_the_network() -> None:
    own = network(Same(3, 4, 3, bias=False), Same(4, 6, 3, bias=False))
    images = torch.randn(40, 3, 8, 8)
    problem = QuantProblem(own, Splits(ImageSet(images, None), None, "noise", "noise"), budget=0.5)
    assert all(is_plain(module) for module in problem.network.modules() if isinstance(module, nn.Conv2d))
    _, norms = partition_network(problem.network, problem.layers, images)
    assert [norm is not None for norm in norms] == [True, True, False]
    assert problem.layers == find_layers(own, (3, 8, 8))
    with torch.inference_mode():
        expected = own(images).argmax(1)  # (N,)
        assert torch.equal(problem.network(images).argmax(1), expected)
