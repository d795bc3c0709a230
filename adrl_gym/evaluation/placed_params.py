"""One layer's quantized weights as a runner computes with them."""

from collections.abc import Iterable, Mapping

import torch

from adrl_gym.graph import BatchNorm, fold_batch_norm, placed
from adrl_gym.layers import QuantizedParams

_LARGE = 2**18  # weights of a layer that are not kept at all bit-widths: 1 MiB for each


class PlacedParams:
    """Weights of one layer by bit-width, folded, on a device, in a type and a memory format; made when asked for.

    Runners on one device share it. Two threads that ask for the same at once make it twice, with the same result.

    Args:
        source: bit-width -> weights; looked up when they are first needed.
        own: the layer's float weights, those of ``None``.
        norm: batch norm to fold into all of them, if any.
        device, dtype, layout: where and how the weights lie.
    """

    def __init__(
        self,
        source: Mapping[int, QuantizedParams],
        own: QuantizedParams,
        norm: BatchNorm | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._source, self._own, self._norm = source, own, norm
        self._device, self._dtype, self._layout = device, dtype, layout
        self._made: dict[int | None, QuantizedParams] = {}

    def prepare(self, widths: Iterable[int | None]) -> None:
        """Make the weights of these bit-widths. A large layer forgets all others, since to make them again is cheap."""
        asked = set(widths)
        if self._own.weight.numel() >= _LARGE:
            self._made = {bits: made for bits, made in self._made.items() if bits in asked}
        for bits in asked:
            self[bits]

    def __getitem__(self, bits: int | None) -> QuantizedParams:
        if bits not in self._made:
            self._made[bits] = self._make(self._own if bits is None else self._source[bits])
        return self._made[bits]

    def _make(self, params: QuantizedParams) -> QuantizedParams:
        weight, bias, grid = fold_batch_norm(_on_cpu(params), self._norm)
        weight = placed(weight.detach().to(self._device, self._dtype), self._layout)
        return QuantizedParams(weight, None if bias is None else bias.detach().to(self._device, self._dtype), grid)


def _on_cpu(params: QuantizedParams) -> QuantizedParams:
    weight, bias, grid = params
    return QuantizedParams(weight.detach().cpu(), None if bias is None else bias.detach().cpu(), grid)
