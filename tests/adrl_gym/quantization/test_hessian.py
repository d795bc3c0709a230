"""Hessians and means of the layers' inputs."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import find_layers
from adrl_gym.quantization.hessian import InputStatistics, collect_inputs
from adrl_gym.quantization.patches import patch_sums
from adrl_gym.quantization.shortcuts import Gram

small = st.tuples(st.integers(1, 4), st.integers(1, 4))


def unfolded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """All patches ``(G, J, N)`` of an input, taken by PyTorch's own unfold."""
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        (top, left), (bottom, right) = ([t // 2 for t in totals], [t - t // 2 for t in totals])
    elif conv.padding == "valid":
        top = bottom = left = right = 0
    else:
        top, left = bottom, right = int(conv.padding[0]), int(conv.padding[1])
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    x = F.pad(x, (left, right, top, bottom), mode=mode)
    columns = F.unfold(x, conv.kernel_size, conv.dilation, 0, conv.stride)  # (B, I kH kW, L)
    return columns.transpose(0, 1).reshape(conv.groups, -1, len(x) * columns.shape[2])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@settings(max_examples=60, deadline=None)
@given(
    kernel=small,
    stride=small,
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 2, 6]),
    padding=st.one_of(st.just("same"), st.just("valid"), small),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    seed=st.integers(0, 2**32),
)
def test_patch_sums_are_those_of_a_plain_unfold(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    padding: str | tuple[int, int],
    mode: Literal["zeros", "reflect", "replicate", "circular"],
    seed: int,
) -> None:
    if padding == "same":
        stride = (1, 1)  # PyTorch allows no other
    conv = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups, padding_mode=mode)
    x = torch.randn(2, 6, 11, 12, generator=torch.Generator().manual_seed(seed)).double() + 0.5
    patches = unfolded(conv, x)
    second, first, count = patch_sums(conv, x)
    assert count == patches.shape[2]
    without, same, _ = patch_sums(conv, x, products=False)
    assert without is None
    assert torch.equal(same, first)
    torch.testing.assert_close(first, patches.sum(2))
    torch.testing.assert_close(second, patches @ patches.mT)
    # The patches in this order times the weight in its own order are the convolution.
    weight = conv.weight.double().reshape(groups, -1, first.shape[1])  # (G, O/G, J)
    assert conv.bias is not None
    outputs = conv.double()(x) - conv.bias[:, None, None]
    torch.testing.assert_close((weight @ first[:, :, None]).flatten(), outputs.sum((0, 2, 3)))


def statistics_of(network: nn.Module, images: Tensor) -> dict[str, InputStatistics]:
    layers = find_layers(network, tuple(images.shape[1:]))
    return {layer.name: statistics for layer, statistics in collect_inputs(network, layers, images)}


def test_moments_are_means_over_all_batches() -> None:
    one, two = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3, groups=2)
    network = nn.Sequential(one, nn.ReLU(), two)
    images = torch.randn(230, 2, 8, 8, generator=torch.Generator().manual_seed(0))  # 100 + 100 + 30
    found = statistics_of(network, images)
    assert list(found) == ["0", "2"]
    with torch.no_grad():
        for name, conv, x in (("0", one, images), ("2", two, network[:2](images))):
            patches = unfolded(conv, x)
            torch.testing.assert_close(found[name].hessian, patches @ patches.mT / patches.shape[2])
            torch.testing.assert_close(found[name].mean, patches.mean(2))


def test_centred_moments_are_covariances() -> None:
    x = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) + 3
    statistics = statistics_of(nn.Sequential(nn.Linear(7, 2)), x)["0"]
    assert isinstance(statistics.covariance, Tensor)
    torch.testing.assert_close(statistics.covariance[0], x.T.cov(correction=0), rtol=1e-3, atol=1e-4)


def test_linear_layers_average_over_every_leading_position() -> None:
    network = nn.Sequential(nn.Linear(5, 3))
    x = torch.randn(4, 6, 5)
    statistics = statistics_of(network, x)["0"]
    rows = x.reshape(-1, 5)
    assert isinstance(statistics.hessian, Tensor)
    torch.testing.assert_close(statistics.hessian[0], rows.T @ rows / 24)
    torch.testing.assert_close(statistics.mean[0], rows.mean(0))


class Twice(nn.Module):
    """One convolution used twice, and one that is used never."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.idle = nn.Conv2d(3, 3, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.shared(self.shared(x))


def test_a_module_used_twice_gets_the_mean_over_both_uses() -> None:
    network, images = Twice(), torch.randn(5, 3, 6, 6)
    with torch.no_grad():
        patches = torch.cat([unfolded(network.shared, x) for x in (images, network.shared(images))], dim=2)
    statistics = statistics_of(network, images)["shared"]
    torch.testing.assert_close(statistics.hessian, patches @ patches.mT / patches.shape[2])


def test_a_small_memory_takes_more_passes_to_the_same_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    images = torch.randn(3, 3, 8, 8)
    passes: list[nn.Module] = []
    network.register_forward_hook(lambda module, *_: passes.append(module))
    layers = find_layers(network, (3, 8, 8))
    passes.clear()
    at_once = list(collect_inputs(network, layers, images))
    assert len(passes) == 1
    monkeypatch.setattr("adrl_gym.quantization.hessian._HESSIAN_MEMORY", 4 * (27**2 + 36**2))
    in_parts = list(collect_inputs(network, layers, images))
    assert len(passes) == 3  # both convolutions fit together; the linear layer does not fit, but comes alone
    for (layer, statistics), (same_layer, same) in zip(at_once, in_parts, strict=True):
        assert layer is same_layer
        assert isinstance(statistics.hessian, Tensor)
        assert isinstance(same.hessian, Tensor)
        assert torch.equal(statistics.hessian, same.hessian)
        assert torch.equal(statistics.mean, same.mean)
    passes.clear()
    means = list(collect_inputs(network, layers, images, hessian=False))
    assert len(passes) == 1  # they need no memory
    for (layer, statistics), (same_layer, alone) in zip(at_once, means, strict=True):
        assert layer is same_layer
        assert (alone.hessian, alone.covariance) == (None, None)
        assert torch.equal(statistics.mean, alone.mean)


def test_the_network_is_left_as_it_is() -> None:
    network, images = Twice(), torch.randn(2, 3, 6, 6)
    statistics_of(network, images)
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_no_images_and_idle_layers_are_named() -> None:
    network, images = Twice(), torch.randn(2, 3, 6, 6)
    layers = find_layers(network, (3, 6, 6))
    with pytest.raises(AdrlGymError, match="no images"):
        list(collect_inputs(network, layers, images[:0]))
    with pytest.raises(AdrlGymError, match="layer idle"):
        list(collect_inputs(network, [replace(layers[0], name="idle")], images))


class Writes(nn.Module):
    """Writes into what it is given, and calls its layer by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        return self.fc(input=x)  # (B, 3)


def test_images_stay_as_they_are() -> None:
    network, images = Writes(), torch.randn(230, 6)
    before = images.clone()
    statistics = statistics_of(network, images)["fc"]
    assert torch.equal(images, before)
    torch.testing.assert_close(statistics.mean[0], (before - 0.5).mean(0))


@pytest.mark.parametrize("images", [30, 130])  # samples are kept, or were until they became too many
def test_samples_are_kept_while_they_are_few(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    network = nn.Sequential(nn.Linear(200, 5))
    x = torch.randn(images, 200, generator=torch.Generator().manual_seed(0)) + 1
    dense = statistics_of(network, x)["0"]
    monkeypatch.setattr("adrl_gym.quantization.shortcuts.gram._INPUTS", 200)
    found = statistics_of(network, x)["0"]
    torch.testing.assert_close(found.mean, dense.mean)
    for gram, expected in ((found.hessian, dense.hessian), (found.covariance, dense.covariance)):
        assert isinstance(gram, Gram) == (images <= 100)
        torch.testing.assert_close(gram.dense() if isinstance(gram, Gram) else gram, expected)
