"""Quantize each layer by itself: weights for every (layer, bits), made when they are first needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from adrl_gym.devices import release_freed_memory
from adrl_gym.layers import LayerSpec, QuantizedParams, own_params, quantizable
from adrl_gym.progress import tracked
from adrl_gym.quantization.base import Quantizer, check_finite
from adrl_gym.quantization.bias_correction import bias_correction as correction
from adrl_gym.quantization.hessian import InputStatistics, collect_inputs
from adrl_gym.quantization.measured_shift import measured_layers, measured_shifts
from adrl_gym.quantization.registry import find_quantizer

_COMPARED = 8  # images, to see which layers compute with their weight itself


class LayerwiseParams(Sequence[Mapping[int, QuantizedParams]]):
    """Quantized weight and corrected bias of every layer, by bit-width.

    They depend on (layer, bits) alone, so each is made once. ``prepare`` makes those that one configuration needs;
    looking up any other one makes all that a search can ask for, since statistics of the layers' inputs are then
    collected once for all of them. The statistics are those of the network with *float* weights, on unlabelled images.

    Args:
        network: of float weights, in evaluation mode; left alone. Where its layers' inputs are quantized, so are those
            that the statistics are of, and the parameters have the same grids.
        layers: its quantizable layers.
        images: ``(N, C, H, W)``.
        quantizer: for all layers.
        widths: of each layer, the bit-widths that can be asked for.
        bias_correction: let each layer's bias absorb the mean error of its quantized weights.
        progress: show a bar while layers are quantized.

    Raises:
        AdrlGymError: NaN or infinite weights (names the layer).
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        images: Tensor,
        *,
        quantizer: Quantizer,
        widths: Sequence[Iterable[int]],
        bias_correction: bool,
        progress: bool = False,
    ) -> None:
        for layer in layers:
            check_finite(quantizable(network, layer).weight, layer.name)
        self._network, self._layers, self._images = network, layers, images
        self._quantizer, self._bias_correction, self._progress = quantizer, bias_correction, progress
        self.widths = [tuple(own) for own in widths]
        self._made: list[dict[int, QuantizedParams]] = [{} for _ in layers]
        self._measured: dict[str, bool] | None = None  # see measured_layers

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, layer: int) -> Mapping[int, QuantizedParams]:  # type: ignore[override]
        return _LayerParams(self, layer, self._made[layer])

    def prepare(self, widths: Sequence[Iterable[int]] | None = None) -> None:
        """Quantize what is missing of the bit-widths asked for of each layer, by default of all that there are.

        Raises:
            AdrlGymError: NaN or infinite weights (names the layer).
        """
        asked = self.widths if widths is None else widths
        missing = {
            layer.name: [b for b in dict.fromkeys(own) if b not in made]
            for layer, own, made in zip(self._layers, asked, self._made, strict=True)
        }
        todo = [layer for layer in self._layers if missing[layer.name]]
        place = {layer.name: index for index, layer in enumerate(self._layers)}
        found = self._statistics(todo)
        if self._progress and todo:
            found = tracked(found, "quantizing", len(todo), "layers")
        if todo and self._bias_correction and self._measured is None:
            self._measured = measured_layers(self._network, self._layers, self._images[:_COMPARED])
        later: dict[str, dict[int, QuantizedParams]] = {}  # of layers whose shift is measured, still without it
        for layer, statistics in found:
            made = self._quantize(layer, missing[layer.name], statistics)
            if self._adds(layer):
                later[layer.name] = made
            else:
                self._made[place[layer.name]] |= made
        of_these = [layer for layer in self._layers if layer.name in later]
        weights = {name: {b: params.weight for b, params in made.items()} for name, made in later.items()}
        for name, shifts in measured_shifts(self._network, of_these, self._images, weights).items():
            self._made[place[name]] |= {b: _shifted(later[name][b], shift) for b, shift in shifts.items()}
        if todo:
            release_freed_memory()

    def distances(self, widths: Sequence[int]) -> np.ndarray:
        """Return the squared weight error over squared weights, ``(n, len(widths))``."""
        self.prepare()
        weights = [quantizable(self._network, layer).weight.detach() for layer in self._layers]
        return np.array(
            [
                [_relative_error(weight, made[b].weight) for b in widths]
                for weight, made in zip(weights, self._made, strict=True)
            ]
        )

    def _statistics(self, layers: Sequence[LayerSpec]) -> Iterator[tuple[LayerSpec, InputStatistics | None]]:
        if not (self._quantizer.needs_hessian or self._bias_correction):
            return ((layer, None) for layer in layers)
        return iter(collect_inputs(self._network, layers, self._images, hessian=self._quantizer.needs_hessian))

    def _quantize(
        self, layer: LayerSpec, bits: Sequence[int], statistics: InputStatistics | None
    ) -> dict[int, QuantizedParams]:
        own = own_params(quantizable(self._network, layer))
        axis, plain = layer.channel_axis, layer.name not in (self._measured or {})
        hessian = None
        if statistics is not None and self._quantizer.needs_hessian:
            # Bias correction takes the mean error away, so what is left to minimise is the centred one.
            corrected = self._bias_correction and (plain or self._adds(layer))
            hessian = statistics.covariance if corrected else statistics.hessian
        rows = own.weight.movedim(axis, 0)  # (O, ...)
        by_rows = self._quantizer.quantize(rows, bits, hessian=hessian, layer=layer.name)
        quantized = {b: own._replace(weight=q.movedim(0, axis).contiguous()) for b, q in by_rows.items()}
        if statistics is None or not self._bias_correction or not plain or layer.kind == "embedding":
            return quantized
        shifts = {b: correction(rows, q, statistics.mean) for b, q in by_rows.items()}  # (O,) each
        return {b: _shifted(params, shifts[b]) for b, params in quantized.items()}

    def _adds(self, layer: LayerSpec) -> bool:
        """Return ``True`` if the layer does not compute with its weight itself, and a bias still corrects it."""
        return bool(self._measured and self._measured.get(layer.name))


def _shifted(params: QuantizedParams, shift: Tensor) -> QuantizedParams:
    """The same with ``shift`` ``(O,)`` in the bias."""
    return params._replace(bias=shift if params.bias is None else params.bias + shift)


def _relative_error(weight: Tensor, quantized: Tensor) -> float:
    scale = float(weight.square().sum())
    return float((weight - quantized).square().sum()) / scale if scale else 0.0


class _LayerParams(Mapping[int, QuantizedParams]):
    """One layer of ``LayerwiseParams``."""

    def __init__(self, owner: LayerwiseParams, layer: int, made: dict[int, QuantizedParams]) -> None:
        self._owner, self._layer, self._made = owner, layer, made

    def __getitem__(self, bits: int) -> QuantizedParams:
        if bits not in self._made and bits in self._owner.widths[self._layer]:
            self._owner.prepare()
        return self._made[bits]

    def __iter__(self) -> Iterator[int]:
        return iter(self._owner.widths[self._layer])

    def __len__(self) -> int:
        return len(self._owner.widths[self._layer])


def quantize_layers(
    network: nn.Module,
    layers: Sequence[LayerSpec],
    images: Tensor,
    *,
    quantizer: str,
    bits: Iterable[int],
    bias_correction: bool,
    progress: bool = False,
) -> LayerwiseParams:
    """Return the quantized weights of all layers at the same bit-widths, already made; see ``LayerwiseParams``."""
    params = LayerwiseParams(
        network,
        layers,
        images,
        quantizer=find_quantizer(quantizer),
        widths=[tuple(bits)] * len(layers),
        bias_correction=bias_correction,
        progress=progress,
    )
    params.prepare()
    return params
