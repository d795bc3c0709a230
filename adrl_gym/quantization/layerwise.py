"""Quantize each layer by itself: weights for every (layer, bits), made when they are first needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from adrl_gym.layers import LayerSpec, QuantizedParams, quantizable
from adrl_gym.quantization.base import Quantizer, check_finite
from adrl_gym.quantization.bias_correction import bias_correction as correction
from adrl_gym.quantization.hessian import InputStatistics, collect_inputs
from adrl_gym.quantization.registry import find_quantizer


class LayerwiseParams(Sequence[Mapping[int, QuantizedParams]]):
    """Quantized weight and corrected bias of every layer, by bit-width.

    They depend on (layer, bits) alone, so each is made once. ``prepare`` makes those that one configuration needs;
    looking up any other one makes all that a search can ask for, since statistics of the layers' inputs are then
    collected once for all of them. The statistics are those of the *float* network, on unlabelled images.

    Args:
        network: float, in evaluation mode; left alone.
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
        found = tqdm(
            self._statistics(todo), "quantizing layers", len(todo), leave=False, disable=not (self._progress and todo)
        )
        for layer, statistics in found:
            self._made[place[layer.name]] |= self._quantize(layer, missing[layer.name], statistics)

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
        module = quantizable(self._network, layer)
        weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
        hessian = None
        if statistics is not None and self._quantizer.needs_hessian:
            # Bias correction takes the mean error away, so what is left to minimise is the centred one.
            hessian = statistics.covariance if self._bias_correction else statistics.hessian
        quantized = self._quantizer.quantize(weight, bits, hessian=hessian, layer=layer.name)
        if statistics is None or not self._bias_correction:
            return {b: QuantizedParams(q, bias) for b, q in quantized.items()}
        shifts = {b: correction(weight, q, statistics.mean) for b, q in quantized.items()}  # (O,) each
        return {b: QuantizedParams(q, shifts[b] if bias is None else bias + shifts[b]) for b, q in quantized.items()}


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
