"""A network whose layers' inputs are quantized."""

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from adrl_gym.activations.calibrate import InputGrids, calibrate_widths
from adrl_gym.activations.ranges import ActivationRange
from adrl_gym.costs import FLOAT_BITS
from adrl_gym.layers import (
    LayerSpec,
    check_activation_bits,
    quantizable,
    set_input_grid,
    share_input_quantizer,
)

Activations = Literal["float", "search"] | int  # bits of the layers' inputs


def check_activations(activations: Activations) -> None:
    """Refuse what is neither ``float`` nor ``search`` nor a bit-width of activations; raises ``AdrlGymError``."""
    if activations not in ("float", "search"):
        check_activation_bits(activations)


class InputPrecisions(NamedTuple):
    """One network in two precisions of its layers' inputs; its weights are float in both.

    Attributes:
        float: all inputs are float.
        quantized: all inputs are quantized, at the most bits that they can have; the very same network where
            activations stay float.
        grids: of each layer's input, at every bit-width that it can have.
    """

    float: nn.Module
    quantized: nn.Module
    grids: Sequence[InputGrids]

    @property
    def widths(self) -> list[tuple[int, ...]]:
        """Bit-widths that each layer's input can have; 32 is float."""
        return [tuple(of_layer.grids) or (FLOAT_BITS,) for of_layer in self.grids]


def with_quantized_inputs(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, widths: Sequence[int], method: ActivationRange
) -> InputPrecisions:
    """Calibrate the grids of a network's inputs, and return it with float and with quantized inputs.

    Args:
        network: float, in evaluation mode; left alone.
        layers: of this network.
        images: ``(N, ...)``, to calibrate on.
        widths: bit-widths that inputs can have, from 2 to 8; none for no quantization.
        method: of choosing the ranges.

    Raises:
        AdrlGymError: see ``calibrate_activations``.
    """
    if not widths:
        return InputPrecisions(network, network, [InputGrids({}, {})] * len(layers))
    grids = calibrate_widths(network, layers, images, widths=widths, method=method)
    network = copy.deepcopy(network)
    for layer in layers:
        modules = [network.get_submodule(name) for name in dict.fromkeys((layer.name, *layer.shared))]
        reading = [module for module in modules if not isinstance(module, nn.Embedding)]
        if layer.kind != "embedding" and len(reading) > 1:
            share_input_quantizer(reading)
    quantized = copy.deepcopy(network)
    for layer, of_layer in zip(layers, grids, strict=True):
        set_input_grid(quantizable(quantized, layer), of_layer.grids[max(of_layer.grids)] if of_layer.grids else None)
    return InputPrecisions(network, quantized, grids)
