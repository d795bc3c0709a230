"""Bias correction from measured mean outputs, for layers that do not compute with their weight itself.

Weight-standardised convolutions, layers with a ``forward`` of their own and transposed convolutions do not map the mean
input to the mean output by their weight. There the layer runs with its float and its quantized weight on the same
float inputs, and its bias takes the difference of the mean outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.graph import batches
from adrl_gym.layers import (
    LayerSpec,
    Quantizable,
    QuantizedParams,
    Transposed,
    formula,
    is_plain,
    layer_input,
    load_quantized,
    own_params,
    quantizable,
    spatial_sides,
)

_TOLERANCE = 1e-4  # of the largest output: the most that rounding explains
_BATCH = 100  # images, at most

Seen = Callable[[Quantizable, tuple[Any, ...], dict[str, Any], Any], None]


@torch.no_grad()
def measured_layers(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor) -> dict[str, bool]:
    """Find the layers whose outputs are not those of their kind's formula with their own weight.

    Args:
        network: in evaluation mode; left as it is.
        layers: of this network.
        images: a few, ``(B, ...)``.

    Returns:
        Name of such a layer -> whether what is added to its bias is added to its output.
    """
    found: dict[str, bool] = {}
    suspects = []
    for layer in layers:
        module = quantizable(network, layer)
        if isinstance(module, nn.Embedding):
            continue  # no bias, and no sum of inputs
        if not is_plain(module) or isinstance(module, Transposed):
            suspects.append(layer)

    def look(name: str) -> Seen:
        def seen(module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any], y: Any) -> None:
            expected = None
            if isinstance(y, Tensor) and not isinstance(module, Transposed):
                try:
                    expected = formula(module, layer_input(inputs, keywords))
                except RuntimeError:  # an input that only the layer's own forward can take
                    expected = None
            if expected is None or expected.shape != y.shape or not _close(y, expected):
                found[name] = found.get(name, True) and _bias_adds(module, inputs, keywords, y)

        return seen

    _watch(network, {layer.name: look(layer.name) for layer in suspects}, [images])
    return found


@torch.no_grad()
def measured_shifts(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, quantized: Mapping[str, Mapping[int, Tensor]]
) -> dict[str, dict[int, Tensor]]:
    """Return the float minus the quantized mean output of layers, all on the float network's inputs.

    Args:
        network: in evaluation mode, float; left as it is.
        layers: those to measure; their biases add to their outputs.
        images: ``(N, ...)``.
        quantized: name -> bit-width -> weight.

    Returns:
        Name -> bit-width -> ``(O,)``.
    """
    shifts = {layer.name: _Shifts(quantized[layer.name]) for layer in layers}
    _watch(network, {name: found.add for name, found in shifts.items()}, batches(images, _BATCH))
    return {
        name: found.mean(quantizable(network, layer))
        for (name, found), layer in zip(shifts.items(), layers, strict=True)
    }


class _Shifts:
    """Float minus quantized outputs of one layer, summed over all that it took in so far.

    Args:
        quantized: bit-width -> weight.
    """

    def __init__(self, quantized: Mapping[int, Tensor]) -> None:
        self._quantized = quantized
        self._sums: dict[int, Tensor] = {}  # bit-width -> (O,)
        self._count = 0
        self._inputs: dict[tuple[int, ...], tuple[Tensor, int]] = {}  # shape -> sum (1, ...) and number of inputs

    def add(self, module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any], y: Any) -> None:
        """See ``Seen``."""
        whole = _by_channel(module, y)  # (O, P)
        self._count += whole.shape[1]
        mean = _mean_input(module, inputs, keywords, y)
        if mean is None:
            self._compare(module, inputs, keywords, whole, 1)
        else:
            total, count = self._inputs.get(tuple(mean.shape), (torch.zeros_like(mean), 0))
            self._inputs[tuple(mean.shape)] = total + len(y) * mean, count + len(y)

    def mean(self, module: Quantizable) -> dict[int, Tensor]:
        """Return the mean difference for each bit-width, ``(O,)``."""
        for total, count in self._inputs.values():
            mean = total / count  # what it makes of the mean input is the mean of what it makes of all
            self._compare(module, (mean,), {}, _by_channel(module, module(mean)), count)
        self._inputs.clear()
        return {bits: total / self._count for bits, total in self._sums.items()}

    def _compare(
        self, module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any], whole: Tensor, times: int
    ) -> None:
        """Count the difference of the outputs ``(O, P)`` from those with quantized weights so many times."""
        own = own_params(module)
        for bits, weight in self._quantized.items():
            with _computing_with(module, own._replace(weight=weight)):
                other = _by_channel(module, module(*inputs, **keywords))  # (O, P)
            difference = times * (whole - other).sum(1)  # (O,)
            self._sums[bits] = self._sums[bits] + difference if bits in self._sums else difference


def output_sum(module: Quantizable, y: Tensor) -> tuple[Tensor, int]:
    """Return the sum ``(O,)`` of outputs over images and positions, and how many there are."""
    rows = _by_channel(module, y)  # (O, P)
    return rows.sum(1), rows.shape[1]


class _Watched:
    """Hands a module's calls, as they were before any hook, and their outputs to a watcher.

    The watcher may call the module again: it is not watched meanwhile.
    """

    def __init__(self, module: nn.Module, watcher: Seen) -> None:
        self._watcher, self._busy = watcher, False
        self._inputs: tuple[Any, ...] = ()
        self._keywords: dict[str, Any] = {}
        self._handles = [
            module.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True),
            module.register_forward_hook(self._after),
        ]

    def _before(self, _: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if not self._busy:
            self._inputs, self._keywords = inputs, keywords

    def _after(self, module: Any, _: Any, y: Any) -> None:
        if not self._busy:
            self._busy = True
            try:
                self._watcher(module, self._inputs, self._keywords, y)
            finally:
                self._busy = False

    def end(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


def _watch(network: nn.Module, watchers: Mapping[str, Seen], batches: Iterable[Tensor]) -> None:
    """Run batches through the network; each named module's watcher sees its calls."""
    if not watchers:
        return
    watched = [_Watched(network.get_submodule(name), watcher) for name, watcher in watchers.items()]
    device = next(network.parameters()).device
    try:
        for batch in batches:
            network(batch.to(device, copy=True))
    finally:
        for one in watched:
            one.end()


@contextmanager
def _computing_with(module: Quantizable, params: QuantizedParams) -> Any:
    """Let the module compute with other weights for a while."""
    weight, bias = module.weight.data, module.bias
    try:
        load_quantized(module, params)
        yield
    finally:
        module.weight.data, module.bias = weight, bias


def _mean_input(module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any], y: Any) -> Tensor | None:
    """Return the mean over a batch ``(1, ...)`` of the input to a layer that is affine in it; ``None`` of any other.

    Padding, or standardising the weight, leaves a layer affine in its input: a bit-width then takes one image's work.
    """
    x = inputs[0] if len(inputs) == 1 and not keywords else None
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) != len(y) or len(x) == 1:
        return None
    mean = x.mean(0, keepdim=True)  # (1, ...)
    found, expected = module(mean), y.mean(0, keepdim=True)
    return mean if found.shape == expected.shape and _close(found, expected) else None


def _bias_adds(module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any], y: Any) -> bool:
    """Return whether one more in every bias is one more in every output."""
    if not isinstance(y, Tensor) or y.dim() <= spatial_sides(module):
        return False
    own = own_params(module)
    bias = own.bias
    channels = y.shape[_channels(module, y)]
    if channels != (len(bias) if bias is not None else getattr(module, "out_channels", channels)):
        return False
    more = y.abs().amax().clamp_min(1.0)
    raised = own.weight.new_full((channels,), float(more))  # (O,)
    with _computing_with(module, own._replace(bias=raised if bias is None else bias + raised)):
        other = module(*inputs, **keywords)
    return isinstance(other, Tensor) and other.shape == y.shape and _close(other, y + more)


def _close(y: Tensor, other: Tensor) -> bool:
    return float((y - other).abs().max()) <= _TOLERANCE * float(other.abs().max())


def _channels(module: Quantizable, y: Tensor) -> int:
    return y.dim() - 1 - spatial_sides(module)


def _by_channel(module: Quantizable, y: Tensor) -> Tensor:
    """Outputs of any batch as ``(O, P)``."""
    return y.movedim(_channels(module, y), 0).flatten(1).float()
