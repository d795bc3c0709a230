"""Evaluate configurations as sequential calibration makes them."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images
from adrl_gym.evaluation.evaluator import Evaluator
from adrl_gym.evaluation.metrics import SampleMetrics, sample_metrics
from adrl_gym.evaluation.reference import whole_logits
from adrl_gym.graph import fast_layout
from adrl_gym.layers import LayerSpec, quantized_copy
from adrl_gym.quantization import SequentialQuantizer


class SequentialEngine:
    """``Evaluator`` that calibrates each configuration layer after layer, and runs whole passes through the result.

    Args:
        network: the float one, on the device to run on.
        layers: its quantizable layers.
        search: the search images.
        quantizer: of this network.
        engine: runs the float network.

    Attributes:
        passes: work done on search images, in passes of all of them through the whole network, without calibration.
        size: images in a slice.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        search: Images,
        quantizer: SequentialQuantizer,
        engine: Evaluator,
    ) -> None:
        self.passes = 0.0
        self.size = engine.size
        self._network, self._layers, self._quantizer, self._engine = network, layers, quantizer, engine
        self._device: torch.device = next(network.parameters()).device
        self._batches = list(search.batches(self.size))
        self._layout = fast_layout(network, self._batches[0][0].to(self._device))
        self._search = search
        self._float: Bits = (None,) * len(layers)
        self._reference: Tensor | None = None  # the float network's logits (N, K)

    def quantized(self, bits: Bits) -> nn.Module:
        """Return the calibrated network, on the CPU."""
        return quantized_copy(self._network, self._layers, self._quantizer.quantize(bits))

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int]) -> list[list[SampleMetrics]]:
        """See ``Evaluator``."""
        return [self._measure(tuple(bits), slices) for bits in configurations]

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """See ``Evaluator``."""
        if tuple(bits) == self._float:
            return self._engine.logits(images, bits)
        return self._whole(bits, (batch for batch, _ in images.batches(self.size)))

    def forget(self) -> None:
        """See ``Evaluator``."""
        self._quantizer.forget()
        self._engine.forget()

    def close(self) -> None:
        """See ``Evaluator``."""
        self.forget()
        self._engine.close()

    def _whole(self, bits: Bits, batches: Iterable[Tensor]) -> Tensor:
        return whole_logits(self.quantized(bits).to(self._device), batches, self._layout)

    def _measure(self, bits: Bits, slices: Sequence[int]) -> list[SampleMetrics]:
        if bits == self._float:
            return self._engine.measure([bits], slices)[0]
        if self._reference is None:
            self._reference = self._engine.logits(self._search, self._float)  # (N, K)
        chosen = [self._batches[s] for s in slices]
        logits = self._whole(bits, (images for images, _ in chosen)).split(self.size)
        found = []
        for s, here, (images, labels) in zip(slices, logits, chosen, strict=True):
            reference = self._reference[s * self.size :][: len(images)]  # (B, K)
            found += sample_metrics(here[None], reference, labels)  # (1, B, K)
            self.passes += len(images) / len(self._search)
        return found
