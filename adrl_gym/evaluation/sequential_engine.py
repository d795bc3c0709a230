"""Configurations as the recipe ``refit`` makes networks of them."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images
from adrl_gym.evaluation.engine import Engine
from adrl_gym.evaluation.metrics import SampleMetrics, compare
from adrl_gym.evaluation.reference import whole_logits
from adrl_gym.graph import fast_layout
from adrl_gym.layers import LayerSpec, quantized_copy
from adrl_gym.quantization import SequentialQuantizer


class SequentialEngine:
    """Refits each configuration and runs whole passes through what comes out; used like an ``Engine``.

    Args:
        network: the float one, on the device to run on.
        layers: its quantizable layers.
        search: the search images.
        refitter: of this network.
        direct: what runs the float network.

    Attributes:
        passes: work done on search images, in passes of all of them through the whole network; refitting is no part.
        size: images in a slice.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        search: Images,
        refitter: SequentialQuantizer,
        direct: Engine,
    ) -> None:
        self.passes = 0.0
        self.size = direct.size
        self._network, self._layers, self._refitter, self._direct = network, layers, refitter, direct
        self._device = next(network.parameters()).device
        self._batches = list(search.batches(self.size))
        self._layout = fast_layout(network, self._batches[0][0].to(self._device))
        self._search = search
        self._float: Bits = (None,) * len(layers)
        self._reference: Tensor | None = None  # the float network's logits (N, K)

    def quantized(self, bits: Bits) -> nn.Module:
        """The refitted network, on the CPU."""
        return quantized_copy(self._network, self._layers, self._refitter.versions(bits))

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int]) -> list[list[SampleMetrics]]:
        """See ``Engine.measure``."""
        return [self._measure(tuple(bits), slices) for bits in configurations]

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """See ``Engine.logits``."""
        if tuple(bits) == self._float:
            return self._direct.logits(images, bits)
        return self._whole(bits, (batch for batch, _ in images.batches(self.size)))

    def forget(self) -> None:
        """Let go of what is kept."""
        self._refitter.forget()
        self._direct.forget()

    def close(self) -> None:
        """See ``Engine.close``."""
        self.forget()
        self._direct.close()

    def _whole(self, bits: Bits, batches: Iterable[Tensor]) -> Tensor:
        return whole_logits(self.quantized(bits).to(self._device), batches, self._layout)

    def _measure(self, bits: Bits, slices: Sequence[int]) -> list[SampleMetrics]:
        if bits == self._float:
            return self._direct.measure([bits], slices)[0]
        if self._reference is None:
            self._reference = self._direct.logits(self._search, self._float)  # (N, K)
        chosen = [self._batches[s] for s in slices]
        logits = self._whole(bits, (images for images, _ in chosen)).split(self.size)
        found = []
        for s, here, (images, labels) in zip(slices, logits, chosen, strict=True):
            reference = self._reference[s * self.size :][: len(images)]  # (B, K)
            found += compare(here[None], reference, labels)  # (1, B, K)
            self.passes += len(images) / len(self._search)
        return found
