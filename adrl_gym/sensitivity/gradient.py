"""Sensitivity of all layers at all bit-widths from gradients, in a few passes at any depth."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from adrl_gym.bits import Bits
from adrl_gym.devices import release_freed_memory
from adrl_gym.graph import fast_layout
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import bar
from adrl_gym.sensitivity.expansion import Expansion, fisher_vectors
from adrl_gym.sensitivity.projection import NotDifferentiableError, Projector

VECTORS = 3  # vectors for each image: 250 images rank entries as the measured table does, Spearman 0.999
_MEMORY = 2**28  # bytes of what one thread keeps of a slice's activations
_COPIES = 5 + VECTORS  # of a layer's output that are alive at a time: input, output, autograd's, gradients


class GradientSensitivity:
    """Expansions of the divergence from the float prediction around any configuration (see ``Expansion``).

    One expansion takes a forward pass, ``VECTORS`` backward passes (weights need no gradient), one more backward pass
    where it does not begin at the float network, and one more run of each layer for each bit-width. They count as
    evaluations. As in ``Engine``, slices of images run side by side, each on one thread, so that results do not depend
    on the number of threads.

    Args:
        problem: whose searched layers are expanded.
        images: how many search images, at most.
    """

    def __init__(self, problem: QuantProblem, images: int) -> None:
        self._problem, self._images = problem, min(images, problem.images)
        self._device = next(problem.network.parameters()).device
        image, _ = next(problem.splits.search.batches(1))  # (1, ...)
        self._layout = fast_layout(problem.network, image.to(self._device))
        one_image = _COPIES * self._projector().output_bytes(image)
        self._slice = max(1, min(problem.slice_size, _MEMORY // one_image))
        self._expected: dict[int, Tensor] = {}  # slice -> the float network's prediction (B, K)

    def passes(self, bits: Bits, reach: int | None = None) -> float:
        """Return the evaluations that ``expand`` takes."""
        layers = self._problem.layers
        runs = sum(layers[place % len(layers)].macs * len(own) for place, own in self._widths(bits, reach).items())
        again = runs / sum(layer.macs for layer in layers)
        quantized = any(b is not None for b in bits)
        passes = 1 + VECTORS + again + quantized + (quantized and not self._expected)
        return passes * self._images / self._problem.images

    def expand(self, bits: Bits, reach: int | None = None) -> Expansion:
        """Expand around a configuration.

        Args:
            bits: of all layers; ``None`` is float.
            reach: bits up and down from ``bits`` that are expanded; without it, all.

        Raises:
            NotDifferentiableError: no gradient reaches a layer from the logits. In a quantized network, zeros are no
                sign of that: few bits may silence a layer, and a small one may be the same at all bits within reach.
        """
        problem = self._problem
        widths = self._widths(bits, reach)
        every = range(problem.min_bits, problem.max_bits + 1)
        known = np.array([[b in own for b in every] for own in widths.values()])  # (n, widths)
        problem.quantize_layers()  # before threads ask for them
        release_freed_memory()
        passes = self.passes(bits, reach)
        threads = torch.get_num_threads() if self._device.type == "cpu" else 1
        here = threading.local()
        shown = bar("sensitivity from gradients", self._images, "images")

        def changes(job: tuple[int, Tensor]) -> Tensor:
            if not hasattr(here, "projector"):
                here.projector = self._projector()
            found = self._changes(here.projector, *job, bits, widths)  # (B, 1 + VECTORS, n * widths)
            shown.update(len(found))
            return found

        with shown, ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            found = torch.cat(list(pool.map(changes, enumerate(self._batches()))))  # (N, 1 + VECTORS, entries)
        problem.charge(passes)
        release_freed_memory()
        whole = np.zeros((*found.shape[:2], *known.shape), dtype=np.float32)  # (N, 1 + VECTORS, n, widths)
        whole[..., known] = found.numpy()
        silent = ~whole[:, 1:].any(axis=(0, 1, 3))  # (n,)
        silent &= np.array(problem.searchable) < len(problem.layers)  # inputs may be on the grid, to be seen in weights
        if silent.any() and all(bits[layer] is None for layer in problem.searchable):
            name = problem.describe(problem.searchable[int(silent.argmax())])
            raise NotDifferentiableError(
                f"no gradient reaches {name} from the logits, or all predictions are certain: give sensitivity measured"
            )
        return Expansion(whole[:, 0], whole[:, 1:], known)

    def _projector(self) -> Projector:
        return Projector(self._problem, self._device, self._layout)

    def _changes(
        self, projector: Projector, place: int, images: Tensor, bits: Bits, widths: dict[int, list[int]]
    ) -> Tensor:
        """Products of one slice's images, all known entries in a row: ``(B, 1 + VECTORS, entries)``."""
        generator = torch.Generator().manual_seed(place)  # the same for every configuration and thread
        begins_quantized = any(b is not None for b in bits)
        if begins_quantized and place not in self._expected:
            self._expected[place] = projector.logits(images).softmax(1)  # (B, K)

        def vectors(logits: Tensor) -> Tensor:
            drawn = fisher_vectors(logits, VECTORS, generator)  # (VECTORS, B, K)
            if not begins_quantized:
                self._expected[place] = logits.softmax(1)  # (B, K)
                return drawn
            towards = logits.softmax(1) - self._expected[place]  # (B, K), the gradient of the divergence
            return torch.cat([towards[None], drawn])

        found = projector.project(images, bits, widths, vectors)
        products = torch.cat([found[layer] for layer in widths], 2)  # (B, VECTORS or 1 + VECTORS, entries)
        if not begins_quantized:
            products = torch.cat([torch.zeros_like(products[:, :1]), products], 1)
        return products.cpu()

    def _batches(self) -> Iterator[Tensor]:
        left = self._images
        for images, _ in self._problem.splits.search.batches(self._slice):
            if left <= 0:
                return
            yield images[:left]
            left -= len(images)

    def _widths(self, bits: Bits, reach: int | None) -> dict[int, list[int]]:
        """Searched layer -> the bit-widths that are expanded."""
        every = range(self._problem.min_bits, self._problem.max_bits + 1)
        found = {}
        for layer in self._problem.searchable:
            own = bits[layer]
            found[layer] = [b for b in every if reach is None or own is None or abs(b - own) <= reach]
        return found
