"""Find the quantizable layers of any network, and describe each by HAQ's ten features."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

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
        macs: multiply-accumulates for one image, in all uses.
        in_channels, out_channels: channels (features of a linear layer).
        kernel, stride: of the height; 1 for a linear layer.
        input_size: height of the input feature map in pixels; 1 for a linear layer.
        groups: groups of a convolution; 1 for a linear layer.
        uses: how often one forward pass uses the weights.
        shared: paths of other modules that hold the very same weights.
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
    uses: int = 1
    shared: tuple[str, ...] = ()

    @property
    def depthwise(self) -> bool:
        """Whether every input channel has its own filters."""
        return self.groups > 1 and self.groups == self.in_channels


def find_layers(network: nn.Module, image_shape: tuple[int, ...]) -> tuple[LayerSpec, ...]:
    """The network's ``Conv2d`` and ``Linear`` layers in the order in which one forward pass uses them.

    Args:
        network: in evaluation mode.
        image_shape: ``(C, H, W)`` of one input image.

    Weights that are used several times, by one module or by several that share them, stand once, at their first use.

    Raises:
        AdrlGymError: nothing to quantize.
    """
    found: dict[int, LayerSpec] = {}  # by the identity of the weights

    def describe(name: str, module: nn.Conv2d | nn.Linear, x: Tensor, output: Tensor) -> None:
        if not isinstance(module.weight, nn.Parameter):  # computed anew in every pass, as by weight norm
            return
        layer = _describe(name, module, x, output)
        first = found.setdefault(id(module.weight), layer)
        if first is not layer:
            shared = first.shared if name in (first.name, *first.shared) else (*first.shared, name)
            found[id(module.weight)] = replace(first, uses=first.uses + 1, shared=shared, macs=first.macs + layer.macs)

    handles = [
        module.register_forward_hook(
            lambda m, inputs, keywords, y, name=name: describe(name, m, layer_input(inputs, keywords), y),
            with_kwargs=True,
        )
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


def shared_weights(layers: Sequence[LayerSpec]) -> list[str]:
    """One line for people for each layer whose weights are used more than once."""
    lines = []
    for layer in layers:
        if layer.shared:
            lines.append(f"{layer.name} shares its weights with {', '.join(layer.shared)}: they are quantized once")
        elif layer.uses > 1:
            lines.append(f"{layer.name} is used {layer.uses} times in a forward pass: its weights are quantized once")
    return lines


def unquantized(network: nn.Module, layers: Sequence[LayerSpec]) -> str | None:
    """One line for people on the weights that no layer covers; ``None`` if there are none.

    That is where no ``Conv2d`` or ``Linear`` module runs with them: embeddings, for example, or all of
    ``nn.MultiheadAttention``, which computes with bare parameters and never runs its ``out_proj`` as a module.
    Vectors (biases, norms) do not count.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    >>> unquantized(network, find_layers(network, (3, 1, 1)))
    '16 of 36 weights stay float and count in no size, as no Conv2d or Linear module runs with them: 1.weight'
    """
    known = {id(quantizable(network, layer).weight) for layer in layers}
    matrices = {name: parameter for name, parameter in network.named_parameters() if parameter.dim() > 1}
    left = {name: parameter.numel() for name, parameter in matrices.items() if id(parameter) not in known}
    if not left:
        return None
    total = sum(parameter.numel() for parameter in matrices.values())
    largest = sorted(left, key=lambda name: -left[name])[:3]
    others = f" and {len(left) - 3} others" if len(left) > 3 else ""
    return (
        f"{sum(left.values()):,} of {total:,} weights stay float and count in no size, as no Conv2d or Linear module "
        f"runs with them: {', '.join(largest)}{others}"
    )


def quantizable(network: nn.Module, layer: LayerSpec) -> nn.Conv2d | nn.Linear:
    """The module that ``layer`` describes."""
    module = network.get_submodule(layer.name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def is_plain(module: nn.Conv2d | nn.Linear) -> bool:
    """Whether it is linear in its weight, with no formula of its own and no hook."""
    plain = type(module).forward in (nn.Conv2d.forward, nn.Linear.forward)
    return plain and not module._forward_hooks and not module._forward_pre_hooks


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


def layer_input(inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
    """What a layer was called with, as a forward hook gets it: ``layer(x)`` or ``layer(input=x)``."""
    x: Tensor = inputs[0] if inputs else keywords["input"]
    return x


class QuantizedParams(NamedTuple):
    """What a layer computes with: ``weight`` ``(O, ...)``, ``bias`` ``(O,)`` or ``None``, both float32."""

    weight: Tensor
    bias: Tensor | None


def load_quantized(module: nn.Conv2d | nn.Linear, version: QuantizedParams) -> None:
    """Let ``module``, and every other one that shares its weight, compute with ``version``."""
    module.weight.data = version.weight
    module.bias = None if version.bias is None else nn.Parameter(version.bias, requires_grad=False)


def quantized_copy(network: nn.Module, layers: Sequence[LayerSpec], versions: Sequence[QuantizedParams]) -> nn.Module:
    """A copy of ``network`` on the CPU whose ``layers`` compute with copies of ``versions``."""
    network = copy.deepcopy(network).cpu()
    for layer, (weight, bias) in zip(layers, versions, strict=True):
        own = QuantizedParams(weight.detach().cpu().clone(), None if bias is None else bias.detach().cpu().clone())
        load_quantized(quantizable(network, layer), own)
    return network
