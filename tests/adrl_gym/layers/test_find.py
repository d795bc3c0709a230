"""Finding the quantizable layers of networks of all shapes, and describing them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError
from adrl_gym.layers import find_layers, layer_features, layer_input
from adrl_gym.models.cifarnet import cifarnet
from adrl_gym.models.resnet import resnet20


def test_resnet20_has_twenty_layers_in_forward_order() -> None:
    layers = find_layers(resnet20().eval(), (3, 32, 32))
    assert len(layers) == 20
    assert [layer.name for layer in layers[:3]] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert layers[-1].name == "fc"
    assert sum(layer.parameters for layer in layers) == 268_336
    assert sum(layer.macs for layer in layers) == 40_551_040  # He et al. count 41 M


def test_cifarnet_has_five_layers() -> None:
    layers = find_layers(cifarnet().eval(), (3, 32, 32))
    assert [layer.name for layer in layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert sum(layer.parameters for layer in layers) == 4800 + 102_400 + 3136 * 384 + 384 * 192 + 1920


class Odd(nn.Module):
    """Layers registered in another order than used, one used twice, one never, one depthwise, one on sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 5)
        self.unused = nn.Linear(3, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.depthwise(self.first(x)))  # (B, 8, H/2, W/2)
        return self.last(x.flatten(2).transpose(1, 2)).mean(1)  # (B, 5)


def test_order_is_that_of_use_and_each_layer_stands_once() -> None:
    layers = find_layers(Odd().eval(), (3, 8, 8))
    assert [layer.name for layer in layers] == ["first", "depthwise", "last"]
    assert [layer.depthwise for layer in layers] == [False, True, False]
    assert [layer.macs for layer in layers] == [16 * 216, 2 * 16 * 72, 16 * 40]


def test_features_are_scaled_to_the_unit_interval() -> None:
    features = layer_features(find_layers(resnet20().eval(), (3, 32, 32)))
    assert features.shape == (20, 10)
    assert features.dtype == np.float32
    assert features.min() == 0
    assert features.max() == 1
    np.testing.assert_allclose(features[:, 0], np.arange(20) / 19, rtol=1e-6)
    assert set(features[:, 8]) == {1.0}
    assert set(features[:, 9]) == {0.0}
    # widest input of all, nothing else: the 8x8 features into the last convolution are smaller than the image
    assert features[0, 5] == 1
    assert features[-1, 5] == 0


def test_a_network_with_nothing_to_quantize_is_refused() -> None:
    with pytest.raises(AdrlGymError, match="nothing to quantize"):
        find_layers(nn.Flatten(), (3, 8, 8))


def test_finding_layers_leaves_no_hook_behind() -> None:
    network = Odd().eval()
    find_layers(network, (3, 8, 8))
    assert all(not module._forward_hooks for module in network.modules())
    assert torch.isfinite(network(torch.zeros(2, 3, 8, 8))).all()


class Named(nn.Module):
    """Calls its layers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(input=self.conv(input=x).mean((2, 3)))  # (B, 5)


def test_layers_may_be_called_by_keyword() -> None:
    layers = find_layers(Named().eval(), (3, 8, 8))
    assert [(layer.name, layer.input_size) for layer in layers] == [("conv", 8), ("fc", 1)]
    x, other = torch.zeros(1), torch.ones(1)
    assert layer_input((x,), {}) is x
    assert layer_input((), {"input": other}) is other


class Hidden(nn.Module):
    """Holds convolutions where ``nn.Module`` does not look."""

    def __init__(self, hold: Callable[[list[nn.Module]], Any], runs: bool = True) -> None:
        super().__init__()
        hidden: list[nn.Module] = [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
        self.layers, self.run, self.fc = hold(hidden), hidden * runs, nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.run:
            x = layer(x)  # (B, 3, 8, 8)
        return self.fc(x.mean((2, 3)))  # (B, 5)


@pytest.mark.parametrize("hold", [list, tuple, lambda layers: dict(enumerate(layers))])
def test_layers_in_plain_containers_are_refused(hold: Any) -> None:
    with pytest.raises(AdrlGymError, match=r"are unknown to nn\.Module, .*: put them into an nn\.ModuleList"):
        find_layers(Hidden(hold).eval(), (3, 8, 8))
    assert len(find_layers(Hidden(hold, runs=False).eval(), (3, 8, 8))) == 1, "a teacher that does not run"
    assert len(find_layers(Hidden(nn.ModuleList).eval(), (3, 8, 8))) == 3, "known besides"
