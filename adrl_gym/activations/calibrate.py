"""Calibrate the grids of all layers' inputs on unlabelled images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adrl_gym.activations.histogram import ActivationHistogram
from adrl_gym.activations.ranges import ACTIVATION_RANGES, ActivationRange, choose_grid, relative_error
from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import batches
from adrl_gym.layers import MAX_ACTIVATION_BITS, ActivationGrid, LayerSpec, check_activation_bits, layer_input

_BATCH = 100  # images, at most


def calibrate_activations(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, bits: int, method: ActivationRange = "mse"
) -> list[ActivationGrid | None]:
    """Calibrate the grid of each layer's input in the float network, in one pass over the images.

    Layers that read the same tensor get the same grid, and a layer that is used several times gets one for all its
    uses. Layers that read the images themselves, and the first one, have 8 bits whatever ``bits`` is.

    Args:
        network: in evaluation mode, with float inputs; left as it is.
        layers: of this network.
        images: ``(N, ...)``, at least one; moved to the network's device batch by batch.
        bits: of the inputs, from 2 to 8.
        method: of choosing the ranges; see ``choose_grid``.

    Returns:
        The grid of each layer; ``None`` for an embedding, whose inputs are no numbers to round, and for layers that
        share its weight.

    Raises:
        AdrlGymError: no images, another bit-width or method, and inputs that are constant, or not finite, or that
            no image reaches (names the layer).
    """
    found = calibrate_widths(network, layers, images, widths=[bits], method=method)
    return [next(iter(of_layer.grids.values()), None) for of_layer in found]


class InputGrids(NamedTuple):
    """Grids of one layer's input.

    Attributes:
        grids: bit-width -> grid; empty for an input that is no numbers to round, and a single one, of 8 bits, for
            layers that read the images.
        errors: bit-width -> squared error over squared values.
    """

    grids: dict[int, ActivationGrid]
    errors: dict[int, float]


def calibrate_widths(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, widths: Sequence[int], method: ActivationRange
) -> list[InputGrids]:
    """Calibrate the grids of each layer's input at several bit-widths, in one pass over the images.

    See ``calibrate_activations``, which does so for one bit-width.
    """
    for bits in widths:
        check_activation_bits(bits)
    check_activation_range(method)
    if len(images) == 0:
        raise AdrlGymError("no images to calibrate activations on: give at least one")
    seen = _collect(network, layers, images)
    return [_grids(layer, own, widths, method) for layer, own in zip(layers, seen, strict=True)]


def check_activation_range(method: str) -> None:
    """Refuse an unknown way to choose ranges; raises ``AdrlGymError``."""
    if method not in ACTIVATION_RANGES:
        raise AdrlGymError(f"unknown activation_range {method!r}: choose one of {', '.join(ACTIVATION_RANGES)}")


class _Seen:
    """The inputs that one layer has had so far."""

    def __init__(self, first: bool) -> None:
        self.histogram, self.reads_images = ActivationHistogram(), first

    def add(self, x: Tensor, images: Tensor) -> None:
        if x.is_floating_point():
            self.histogram.add(x)
            self.reads_images |= x.shape == images.shape and x.data_ptr() == images.data_ptr()


@torch.no_grad()
def _collect(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor) -> list[_Seen | None]:
    device = next(network.parameters()).device
    now: list[Tensor] = []  # the images of the present batch

    def hook(own: _Seen) -> Any:
        def look(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            own.add(layer_input(inputs, keywords), now[0])

        return look

    found: list[_Seen | None] = []
    handles = []
    for index, layer in enumerate(layers):
        if layer.kind == "embedding":
            found.append(None)
            continue
        own = _Seen(first=index == 0)
        found.append(own)
        modules = [network.get_submodule(name) for name in dict.fromkeys((layer.name, *layer.shared))]
        reading = [module for module in modules if not isinstance(module, nn.Embedding)]
        handles += [module.register_forward_pre_hook(hook(own), with_kwargs=True) for module in reading]
    try:
        for batch in batches(images, _BATCH):
            now[:] = [batch.to(device, copy=True)]  # a network may write into what it is given
            network(now[0])
    finally:
        for handle in handles:
            handle.remove()
    return found


def _grids(layer: LayerSpec, seen: _Seen | None, widths: Sequence[int], method: ActivationRange) -> InputGrids:
    if seen is None:
        return InputGrids({}, {})
    histogram = seen.histogram
    if not histogram.finite:
        raise AdrlGymError(f"layer {layer.name}: its inputs hold NaN or infinity; check the weights and the images")
    if histogram.count == 0:
        raise AdrlGymError(
            f"layer {layer.name}: no input was seen on the calibration images, so it has no range; give images that "
            "reach it, or leave activations float"
        )
    if histogram.lowest == histogram.highest:
        raise AdrlGymError(
            f"layer {layer.name}: its inputs are all {histogram.lowest:g}, so they have no range; give other "
            "calibration images, or leave activations float"
        )
    own = [MAX_ACTIVATION_BITS] if seen.reads_images else widths
    grids = {bits: choose_grid(histogram, bits, method) for bits in own}
    return InputGrids(grids, {bits: relative_error(histogram, grid) for bits, grid in grids.items()})
