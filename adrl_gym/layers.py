"""Find the quantizable layers of any network, and describe each by HAQ's ten features."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError

FEATURES = 10


@dataclass(frozen=True)
class LayerSpec:
    """One quantizable layer, as the search sees it.

    Attributes:
        name: the module's path in the network, for example ``layer1.0.conv1``.
        kind: ``conv`` (``nn.Conv2d``) or ``linear`` (``nn.Linear``).
        weight_shape: ``(O, I / groups, kH, kW)`` or ``(O, I)``.
        parameters: number of weights; biases stay float and are not counted.
        macs: multiply-accumulates for one image.
        in_channels, out_channels: channels (features of a linear layer).
        kernel, stride: of the height; 1 for a linear layer.
        input_size: height of the input feature map in pixels; 1 for a linear layer.
        groups: groups of a convolution; 1 for a linear layer.
    """

    name: str
    kind: Literal["conv", "linear"]
    weight_shape: tuple[int, ...]
    parameters: int
    macs: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    input_size: int
    groups: int

    @property
    def depthwise(self) -> bool:
        """Whether every input channel has its own filters."""
        return self.groups > 1 and self.groups == self.in_channels


def find_layers(network: nn.Module, image_shape: tuple[int, ...]) -> tuple[LayerSpec, ...]:
    """The network's ``Conv2d`` and ``Linear`` layers in the order in which one forward pass uses them.

    Args:
        network: in evaluation mode.
        image_shape: ``(C, H, W)`` of one input image.

    A layer that is used several times stands once, at its first use.

    Raises:
        AdrlGymError: nothing to quantize.
    """
    found: dict[str, LayerSpec] = {}
    weights: set[int] = set()

    def describe(name: str, module: nn.Conv2d | nn.Linear, inputs: tuple[Any, ...], output: Tensor) -> None:
        if name in found or id(module.weight) in weights:
            return
        weights.add(id(module.weight))
        found[name] = _describe(name, module, inputs[0], output)

    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: describe(name, m, i, o))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        parameter = next(network.parameters(), torch.zeros(0))
        with torch.inference_mode():
            network(torch.zeros(1, *image_shape, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise AdrlGymError(
            f"{type(network).__name__} has nothing to quantize: no Conv2d or Linear layer ran in its forward pass"
        )
    return tuple(found.values())


def quantizable(network: nn.Module, layer: LayerSpec) -> nn.Conv2d | nn.Linear:
    """The module that ``layer`` describes."""
    module = network.get_submodule(layer.name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def _describe(name: str, module: nn.Conv2d | nn.Linear, x: Tensor, y: Tensor) -> LayerSpec:
    shape = tuple(module.weight.shape)
    if isinstance(module, nn.Conv2d):
        return LayerSpec(
            name=name,
            kind="conv",
            weight_shape=shape,
            parameters=module.weight.numel(),
            macs=module.weight.numel() * y.shape[-1] * y.shape[-2],
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=module.kernel_size[0],
            stride=module.stride[0],
            input_size=x.shape[-2],
            groups=module.groups,
        )
    return LayerSpec(
        name=name,
        kind="linear",
        weight_shape=shape,
        parameters=module.weight.numel(),
        macs=module.weight.numel() * math.prod(y.shape[1:-1]),  # once for every position of (B, ..., O)
        in_channels=shape[1],
        out_channels=shape[0],
        kernel=1,
        stride=1,
        input_size=1,
        groups=1,
    )


def layer_features(layers: tuple[LayerSpec, ...]) -> np.ndarray:
    """HAQ's features of every layer, each scaled to [0, 1] over the network's layers; ``(n, 10)`` float32.

    Columns 0 to 9: layer index, input channels, output channels, kernel, stride, input feature-map size,
    parameters, depthwise flag, weight flag (1: the bits of weights are chosen), previous action (0
    here; the environment fills it in). A feature that is the same in all layers is 0.
    Source: HAQ, section 3.1, equations 1 and 2.
    """
    raw = np.array(
        [
            [
                index,
                layer.in_channels,
                layer.out_channels,
                layer.kernel,
                layer.stride,
                layer.input_size,
                layer.parameters,
                layer.depthwise,
                1,
                0,
            ]
            for index, layer in enumerate(layers)
        ],
        dtype=np.float64,
    )  # (n, 10)
    low, high = raw.min(axis=0), raw.max(axis=0)  # (10,) each
    scaled = (raw - low) / np.where(high > low, high - low, 1.0)  # (n, 10)
    scaled[:, 8] = 1.0
    return scaled.astype(np.float32)
