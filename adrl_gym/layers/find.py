"""Find the quantizable layers of any network, and describe each by HAQ's ten features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers.kinds import Convolution, Quantizable, Transposed, channel_axis, is_quantizable
from adrl_gym.layers.prepare import computed_weights, nothing_to_quantize, unregistered

FEATURES = 10


@dataclass(frozen=True)
class LayerSpec:
    """One quantizable layer, as the search sees it.

    Attributes:
        name: the module's path in the network, for example ``layer1.0.conv1``.
        kind: ``conv`` (of one to three dimensions, also transposed), ``linear`` or ``embedding``.
        weight_shape: as the module has it, for example ``(O, I / groups, kH, kW)`` or ``(O, I)``.
        parameters: number of weights; biases stay float and are not counted.
        macs: multiply-accumulates for one image, in all uses.
        in_channels, out_channels: channels (features of a linear layer).
        kernel, stride: of the height (of a sequence: its length); 1 for a linear layer.
        input_size: height of the input feature map in pixels, or length; 1 for a linear layer.
        groups: groups of a convolution; 1 for a linear layer.
        uses: how often one forward pass uses the weights.
        shared: paths of other modules that hold the very same weights.
        channel_axis: axis of the weight that counts output channels (an embedding's entries).
        input_shape, output_shape: of one image, for example ``(C, H, W)``, at the first use.
    """

    name: str
    kind: Literal["conv", "linear", "embedding"]
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
    channel_axis: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()

    @property
    def signature(self) -> str:
        """All that one use of the layer costs on some hardware depends on, beside the bits; for lookup tables."""
        weight, x, y = ("x".join(map(str, s)) for s in (self.weight_shape, self.input_shape, self.output_shape))
        return f"{self.kind} {weight} stride {self.stride} groups {self.groups} input {x} output {y}"

    @property
    def inputs(self) -> int:
        """Weights of one output channel."""
        return self.parameters // self.weight_shape[self.channel_axis]

    @property
    def depthwise(self) -> bool:
        """``True`` if every input channel has its own filters."""
        return self.groups > 1 and self.groups == self.in_channels


def find_layers(
    network: nn.Module, image_shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> tuple[LayerSpec, ...]:
    """The network's convolutions, linear layers and embeddings in the order in which one forward pass uses them.

    Args:
        network: in evaluation mode.
        image_shape: ``(C, H, W)`` of one input image, or ``(T,)`` of its tokens.
        dtype: of the images.

    Weights that are used several times, by one module or by several that share them, stand once, at their first use.

    Raises:
        AdrlGymError: nothing to quantize.
    """
    found: dict[int, LayerSpec] = {}  # by the identity of the weights

    def describe(name: str, module: Quantizable, x: Tensor, output: Tensor) -> None:
        if not isinstance(module.weight, nn.Parameter):  # computed anew in every pass, as by weight norm
            return
        if not isinstance(getattr(module, "bias", None), nn.Parameter | None):
            reason = computed_weights(network) or "make it an nn.Parameter, or None"
            raise AdrlGymError(f"{name}.bias is no parameter, so it cannot be corrected: {reason}")
        if module.weight.dtype != torch.float32:
            raise AdrlGymError(
                f"{name}.weight is {module.weight.dtype}, and quantized weights are torch.float32: call "
                "network.float(), and take conversions to other precisions out of forward"
            )
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
        if is_quantizable(module)
    ]
    hidden = unregistered(network)
    ran: list[str] = []
    handles += [
        module.register_forward_pre_hook(lambda _m, _x, name=name: ran.append(name)) for module, name in hidden.items()
    ]
    try:
        parameter = next(network.parameters(), torch.zeros(0))
        with torch.inference_mode():
            network(torch.zeros(1, *image_shape, dtype=dtype, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    if ran:
        raise AdrlGymError(
            f"layers in {ran[0]} of {type(network).__name__} are unknown to nn.Module, so no checkpoint holds their "
            "weights: put them into an nn.ModuleList or nn.ModuleDict instead of a plain list or dictionary"
        )
    if not found:
        raise AdrlGymError(f"{type(network).__name__} has nothing to quantize: {nothing_to_quantize(network)}")
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

    That is where no quantizable module runs with them: bare parameters, weights that are computed anew in every pass,
    transposed convolutions in groups. Vectors (biases, norms) do not count.

    >>> up = nn.ConvTranspose2d(4, 4, 1, groups=2)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), up, nn.Flatten(), nn.Linear(4, 2))
    >>> unquantized(network, find_layers(network, (3, 1, 1)))
    '8 of 28 weights stay float and count in no size, as no quantizable module runs with them: 1.weight'
    """
    known = {id(quantizable(network, layer).weight) for layer in layers}
    matrices = {name: parameter for name, parameter in network.named_parameters() if parameter.dim() > 1}
    left = {name: parameter.numel() for name, parameter in matrices.items() if id(parameter) not in known}
    if not left:
        return None
    total = sum(parameter.numel() for parameter in matrices.values())
    largest = sorted(left, key=lambda name: -left[name])[:3]
    others = f" and {len(left) - 3} others" if len(left) > 3 else ""
    computed = computed_weights(network)
    advice = "" if computed is None else f"; {computed}"
    return (
        f"{sum(left.values()):,} of {total:,} weights stay float and count in no size, as no quantizable module "
        f"runs with them: {', '.join(largest)}{others}{advice}"
    )


def quantizable(network: nn.Module, layer: LayerSpec) -> Quantizable:
    """The module that ``layer`` describes."""
    module = network.get_submodule(layer.name)
    assert is_quantizable(module)
    return cast("Quantizable", module)


def _describe(name: str, module: Quantizable, x: Tensor, y: Tensor) -> LayerSpec:
    weight = module.weight
    axis = channel_axis(module)
    if isinstance(module, Convolution | Transposed):
        # A transposed convolution multiplies all its weights at each position of its input, not of its output.
        positions = math.prod((y if isinstance(module, Convolution) else x).shape[-len(module.kernel_size) :])
        side = min(len(module.kernel_size), 2)  # the height, or the length
        return LayerSpec(
            name=name,
            kind="conv",
            weight_shape=tuple(weight.shape),
            parameters=weight.numel(),
            macs=weight.numel() * positions,
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=module.kernel_size[-side],
            stride=module.stride[-side],
            input_size=x.shape[-side],
            groups=module.groups,
            channel_axis=axis,
            input_shape=tuple(x.shape[1:]),
            output_shape=tuple(y.shape[1:]),
        )
    embedding = isinstance(module, nn.Embedding)
    # Once for every position of (B, ..., O); looking an entry up counts as its copy.
    return LayerSpec(
        name=name,
        kind="embedding" if embedding else "linear",
        weight_shape=tuple(weight.shape),
        parameters=weight.numel(),
        macs=y[0].numel() if embedding else weight.numel() * math.prod(y.shape[1:-1]),
        in_channels=weight.shape[0 if embedding else 1 - axis],
        out_channels=weight.shape[1 if embedding else axis],
        kernel=1,
        stride=1,
        input_size=1,
        groups=1,
        channel_axis=axis,
        input_shape=tuple(x.shape[1:]),
        output_shape=tuple(y.shape[1:]),
    )


def peak_activations(layers: Sequence[LayerSpec]) -> int:
    """Return the most elements that one layer holds for one image, input and output together.

    Other branches, which a residual connection keeps at the same time, are not counted.
    """
    return max(math.prod(layer.input_shape) + math.prod(layer.output_shape) for layer in layers)


def layer_features(layers: Sequence[LayerSpec], weights: Sequence[bool] | None = None) -> np.ndarray:
    """HAQ's features of every decision's layer, each scaled to [0, 1] over all decisions; ``(n, 10)`` float32.

    Columns 0 to 9: index of the decision, input channels, output channels, kernel, stride, input feature-map size,
    parameters, depthwise flag, weight flag (1: the bits of weights are chosen; 0: those of the layer's input), previous
    action (0 here; the environment fills it in). A feature that is the same in all layers is 0.
    Source: HAQ, section 3.1, equations 1 and 2.

    Args:
        layers: of each decision.
        weights: of each decision, whether it is on weights; without it, all are.
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
    scaled[:, 8] = 1.0 if weights is None else weights
    return scaled.astype(np.float32)


def layer_input(inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
    """Return the input of a layer's call, as a forward hook gets it: ``layer(x)`` or ``layer(input=x)``."""
    x: Tensor = inputs[0] if inputs else keywords["input"]
    return x
