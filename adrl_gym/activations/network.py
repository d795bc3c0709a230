"""A network whose layers' inputs are quantized."""

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from adrl_gym.activations.calibrate import calibrate_activations
from adrl_gym.activations.ranges import ActivationRange
from adrl_gym.costs import FLOAT_BITS
from adrl_gym.layers import (
    LayerSpec,
    check_activation_bits,
    input_grid,
    quantizable,
    set_input_grid,
    share_input_quantizer,
)

Activations = Literal["float"] | int  # bits of the layers' inputs


def check_activations(activations: Activations) -> None:
    """Refuse what is neither ``float`` nor a bit-width of activations; raises ``AdrlGymError``."""
    if activations != "float":
        check_activation_bits(activations)


class InputPrecisions(NamedTuple):
    """One network in two precisions of its layers' inputs; its weights are float in both.

    Attributes:
        float: all inputs are float.
        quantized: all inputs are quantized; the very same network where activations stay float.
    """

    float: nn.Module
    quantized: nn.Module


def with_quantized_inputs(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, bits: Activations, method: ActivationRange
) -> InputPrecisions:
    """Calibrate the grids of a network's inputs, and return it with float and with quantized inputs.

    Args:
        network: float, in evaluation mode; left alone.
        layers: of this network.
        images: ``(N, ...)``, to calibrate on.
        bits: from 2 to 8, or ``float`` for no quantization.
        method: of choosing the ranges.

    Raises:
        AdrlGymError: see ``calibrate_activations``.
    """
    if bits == "float":
        return InputPrecisions(network, network)
    grids = calibrate_activations(network, layers, images, bits=bits, method=method)
    network = copy.deepcopy(network)
    for layer in layers:
        modules = [network.get_submodule(name) for name in dict.fromkeys((layer.name, *layer.shared))]
        reading = [module for module in modules if not isinstance(module, nn.Embedding)]
        if layer.kind != "embedding" and len(reading) > 1:
            share_input_quantizer(reading)
    quantized = copy.deepcopy(network)
    for layer, grid in zip(layers, grids, strict=True):
        set_input_grid(quantizable(quantized, layer), grid)
    return InputPrecisions(network, quantized)


def activation_bits(network: nn.Module, layers: Sequence[LayerSpec]) -> list[int]:
    """Return the bits of each layer's input; 32 where it is float."""
    grids = [input_grid(quantizable(network, layer)) for layer in layers]
    return [FLOAT_BITS if grid is None else grid.bits for grid in grids]
