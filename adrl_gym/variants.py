"""Variants of a layer where activations are searched: its weights and its input, each with bits of its own.

An evaluator takes one integer a layer, whatever it means. Here it is ten times the bits of the input plus the bits of
the weights, 0 for float: variant 48 has 4 bits in the input and 8 in the weights.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import nn

from adrl_gym.activations import InputGrids
from adrl_gym.bits import Bits
from adrl_gym.layers import LayerSpec, QuantizedParams, own_params, quantizable
from adrl_gym.quantization import LayerwiseParams

_BASE = 10


def variants(bits: Bits, grids: Sequence[InputGrids]) -> tuple[int | None, ...]:
    """Return the variant of each layer in a configuration; ``None`` is all float.

    Args:
        bits: of all layers' weights, and after these of all layers' inputs; ``None`` is float.
        grids: of each layer's input. Bits for which an input has none leave it float.
    """
    n = len(grids)
    found = []
    for weights, inputs, of_layer in zip(bits[:n], bits[n:], grids, strict=True):
        found.append(_BASE * (inputs if inputs in of_layer.grids else 0) + (weights or 0) or None)
    return tuple(found)


class LayerVariants(Sequence[Mapping[int, QuantizedParams]]):
    """Parameters of every layer by variant; those of the weights depend on their own bits alone.

    Args:
        params: of every layer, by the bits of its weights.
        network: of float weights and float inputs.
        layers: its quantizable layers.
        grids: of each layer's input.
    """

    def __init__(
        self, params: LayerwiseParams, network: nn.Module, layers: Sequence[LayerSpec], grids: Sequence[InputGrids]
    ) -> None:
        self._own = [own_params(quantizable(network, layer)) for layer in layers]
        self._params, self._grids = params, grids

    def __len__(self) -> int:
        return len(self._params)

    def __getitem__(self, layer: int) -> Mapping[int, QuantizedParams]:  # type: ignore[override]
        return _Variants(self._params[layer], self._own[layer], self._grids[layer])

    def prepare(self, asked: Sequence[Iterable[int]]) -> None:
        """Quantize what is missing of the weights that each layer's variants need."""
        self._params.prepare([{variant % _BASE for variant in own} - {0} for own in asked])


class _Variants(Mapping[int, QuantizedParams]):
    """One layer of ``LayerVariants``."""

    def __init__(self, params: Mapping[int, QuantizedParams], own: QuantizedParams, grids: InputGrids) -> None:
        self._params, self._own, self._grids = params, own, grids

    def __getitem__(self, variant: int) -> QuantizedParams:
        inputs, weights = divmod(variant, _BASE)
        params = self._params[weights] if weights else self._own
        return params._replace(grid=self._grids.grids[inputs] if inputs else None)

    def __iter__(self) -> Iterator[int]:
        every = (_BASE * a + w for a in (0, *self._grids.grids) for w in (0, *self._params))
        return (variant for variant in every if variant)

    def __len__(self) -> int:
        return (1 + len(self._grids.grids)) * (1 + len(self._params)) - 1
