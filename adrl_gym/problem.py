"""The quantization problem: one network, its layers, a quantizer, images and a budget."""

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from adrl_gym.bits import BitConfig, Bits, natural
from adrl_gym.config import ProblemConfig
from adrl_gym.datasets import Splits, prepared_for
from adrl_gym.devices import check_device
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import IN_NATS, EvaluationSession, Metrics, Score, Split, check_score, race
from adrl_gym.layers import (
    find_layers,
    quantized_copy,
    unquantized,
    with_linear_attention,
    with_plain_convolutions,
)
from adrl_gym.models import content_hash
from adrl_gym.quantization import (
    CALIBRATION_IMAGES,
    CALIBRATIONS,
    Calibration,
    Origin,
    QuantizedNetwork,
    SequentialQuantizer,
    find_quantizer,
)
from adrl_gym.quantized_space import QuantizedSpace

ERROR_RATE = 0.05  # that a comparison drops the best candidate; what it saves is in docs/evaluation.md, Ablations


class QuantProblem(QuantizedSpace):
    """Interface of every agent and search: measure a bit configuration, fit it to the budget.

    Args:
        network: float32; put into evaluation mode, else left alone (another device, or attention, gets a copy).
        splits: search images and, where there are any, test images.
        config: settings; see ``ProblemConfig``.
        name: of the network, for results.
        progress: show a bar while the layers are quantized.
        **changes: settings that differ from ``config``, for example ``budget=0.1``.

    Attributes:
        config: the settings.
        network: the float network, with each ``nn.MultiheadAttention`` as Linear layers; not to be changed.
        calibrated, layers, parameters, fixed_bits, searchable, min_bits, max_bits, budget, limits: see
            ``QuantizedSpace``.
        unquantized: one line on weights that stay float; ``None`` if there are none.
        images, images_hash: number of search images, and content hash of them and their labels.
        sensitivity: costs of each searched layer alone ``(n, widths)``, once a search has them; for pictures.
        slice_size, most_evaluations: images that run at a time; limit of ``evaluations`` that a search sets itself.

    Raises:
        AdrlGymError: nothing to quantize, an impossible budget, NaN weights, images or labels that do not fit.
    """

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        config: ProblemConfig | None = None,
        *,
        name: str = "own",
        progress: bool = False,
        **changes: Any,
    ) -> None:
        self.config = config = (config or ProblemConfig()).replace(**changes)
        devices = check_device(config.device)
        network = prepared_for(network, splits.search, splits.test)
        self.name, self.splits = name, splits
        self.quantizer, self.bias_correction = config.quantizer, config.bias_correction
        self.calibration, self.checkpoint = config.calibration, content_hash(network.state_dict())
        self.images, self.images_hash = len(splits.search), splits.search.hash
        image_shape, dtype = tuple(splits.search.images.shape[1:]), splits.search.images.dtype
        network = with_linear_attention(network)
        network = with_plain_convolutions(network, image_shape) if dtype.is_floating_point else network
        layers = find_layers(network, image_shape, dtype)
        if next(network.parameters()).device != devices[0]:
            network = copy.deepcopy(network).to(devices[0])
        super().__init__(network, layers, splits.search.images, config, progress=progress)
        self.unquantized = unquantized(network, layers)
        self._evaluation = EvaluationSession(
            self.network,
            self.layers,
            self._params,
            splits,
            devices,
            quantizer=self.quantizer,
            bias_correction=self.bias_correction,
            input_precision=config.input_precision,
            sequential=self._sequential if self.calibration == "sequential" else None,
            precision=config.profile_precision,
            activation_memory=self._activation_memory,
            cache=None if config.cache is None else Path(config.cache),
            workers=config.workers,
        )
        self.slice_size = self._evaluation.slice_size
        self.most_evaluations, self._charged = math.inf, 0.0
        self.sensitivity: np.ndarray | None = None

    @property
    def evaluations(self) -> float:
        """Work so far in passes of all search images; parts of the network count by their multiply-accumulates."""
        return self._evaluation.passes + self._charged

    def charge(self, passes: float) -> None:
        """Count work on the search images that was done outside, such as gradients, in passes."""
        self._charged += passes

    @property
    def memo_hits(self) -> int:
        """Questions answered from the cache so far."""
        return self._evaluation.hits

    @property
    def memo_misses(self) -> int:
        """Questions that had to be computed so far."""
        return self._evaluation.misses

    @property
    def identity(self) -> tuple[object, ...]:
        """All that tells one problem from another: network, images, quantizer, bit-widths and budget."""
        return self._evaluation.fingerprint, self.budget, self.config.bits, tuple(self.fixed_bits.items())

    @cached_property
    def float_search(self) -> Metrics:
        """The float network on the search images."""
        return self.evaluate((None,) * self.length)

    @cached_property
    def float_test(self) -> Metrics | None:
        """The float network on the test images, if there are any."""
        return self._evaluation.test(self.variants((None,) * self.length))

    def evaluate(self, bits: Bits, images: int | None = None) -> Metrics:
        """Measure a configuration on the first ``images`` search images (default: all), each question once.

        Args:
            bits: of all layers, within this problem's range or as fixed; ``None`` leaves a layer float.
            images: how many, all if there are fewer.

        Raises:
            AdrlGymError: other bits, or fewer than 1 image.
        """
        return self._evaluation.evaluate(self.variants(self.check_partly_float(bits)), self._count(images))

    def costs(self, configurations: Sequence[Bits], score: Score, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Return costs of configurations on the search images ``begin`` to ``end``, float64 ``(m, end - begin)``.

        Together they cost less than one by one: the part that several have in common runs once.

        Raises:
            AdrlGymError: bits that ``evaluate`` refuses, images that there are not, a score that cannot be had.
        """
        check_score(score, self.splits)
        end = self.images if end is None else end
        if not 0 <= begin < end <= self.images:
            raise AdrlGymError(f"search images {begin} to {end}: there are those from 0 to {self.images}")
        found = self._evaluation.profile(
            [self.variants(self.check_partly_float(bits)) for bits in configurations], begin, end
        )
        return np.stack([metrics.costs(score) for metrics in found]) / self.splits.search.per_image

    def compare(
        self,
        configurations: Sequence[Bits],
        score: Score,
        *,
        offsets: Sequence[float] | None = None,
        images: int | None = None,
        error_rate: float = ERROR_RATE,
    ) -> list[float]:
        """Return mean costs of configurations plus offsets; infinite once one cannot win.

        See ``race``: ``error_rate`` is the probability that the cheapest one drops out; 0 runs all on all images.
        """
        return race(
            lambda chosen, begin, end: self.costs([configurations[i] for i in chosen], score, begin, end),
            [0.0] * len(configurations) if offsets is None else offsets,
            self._count(images),
            error_rate,
            unit=0.0 if score in IN_NATS else 100.0 / self.splits.search.per_image,
            step=self.slice_size,
        )

    def forget(self) -> None:
        """Forget all that was measured; a cache's file stays, and is read again."""
        self._evaluation.forget()

    def close(self) -> None:
        """Release the cache's file and threads. Safe to use afterwards; caching is then in memory only."""
        self._evaluation.close()

    def test(self, bits: Sequence[int]) -> Metrics | None:
        """Measure a configuration on the test images, if there are any; for reports, never for the search."""
        return self._evaluation.test(self.variants(self.check(bits)))

    def measure(self, network: nn.Module | QuantizedNetwork, split: Split = "search") -> Metrics:
        """Measure any network with the same images and classes on a split, ``AdrlGymError`` where there is none."""
        module = network.network if isinstance(network, QuantizedNetwork) else network
        return self._evaluation.measure(module, split)

    def quantized(self, bits: Sequence[int], calibration: Calibration | None = None) -> QuantizedNetwork:
        """Return a copy of the network with these bits' quantized weights and corrected biases, on the CPU.

        ``calibration`` is by default this problem's own; ``sequential`` takes some seconds.
        """
        whole = self.check(bits)
        chosen = self.calibration if calibration is None else calibration
        if chosen not in CALIBRATIONS:
            raise AdrlGymError(f"unknown calibration {chosen!r}: choose one of {', '.join(CALIBRATIONS)}")
        if chosen == "sequential":
            sequential = self._make_sequential(self.with_inputs(whole)) if self.searches_inputs else self._sequential
            params = sequential.quantize(whole[: len(self.layers)])
        else:
            keys = [b for b in self.variants(whole) if b is not None]  # none is: weights have bits
            self._params.prepare([[b] for b in keys])
            params = [self._params[layer][b] for layer, b in enumerate(keys)]
        return self.quantized_network(whole, quantized_copy(self.network, self.layers, params))

    def quantized_network(self, bits: Sequence[int], network: nn.Module) -> QuantizedNetwork:
        """Return a network with quantized weights together with its bits and the origin that this problem gives it."""
        config = BitConfig(tuple(layer.name for layer in self.layers), tuple(bits[: len(self.layers)]))
        return QuantizedNetwork(network, config, Origin(self.quantizer, self.name, self.checkpoint))

    def _count(self, images: int | None) -> int:
        """Return the number of search images; ``None`` is all."""
        if images is None:
            return self.images
        if not natural(images):
            raise AdrlGymError(f"images={images!r}: at least 1 search image is needed; leave it out for all")
        return min(natural(images), self.images)

    @property
    def _activation_memory(self) -> int:
        """Return the bytes that activations may take beside quantized weights, or those of sequential calibration."""
        memory = self.config.activation_memory
        if self.calibration == "sequential":
            return memory // 2
        inputs = 1 + len(self.config.activation_widths) if self.searches_inputs else 1
        weights = 4 * (self.max_bits - self.min_bits + 1) * inputs * sum(self.parameters)
        return max(memory // 2, memory - weights)

    @cached_property
    def _sequential(self) -> SequentialQuantizer:
        return self._make_sequential(self.calibrated)

    def _make_sequential(self, network: nn.Module) -> SequentialQuantizer:
        return SequentialQuantizer(
            network,
            self.layers,
            self.splits.search.images[:CALIBRATION_IMAGES],
            quantizer=find_quantizer(self.quantizer),
            bias_correction=self.bias_correction,
            activation_memory=self._activation_memory if self.calibration == "sequential" else 0,
        )
