"""All evaluation of one problem: engines, caches, and the float network's logits to compare with."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images, Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation.engine import Engine
from adrl_gym.evaluation.evaluator import CachedEvaluator, Evaluator
from adrl_gym.evaluation.fingerprint import fingerprint
from adrl_gym.evaluation.metrics import SCORES, Metrics, SampleMetrics, Score, sample_metrics
from adrl_gym.evaluation.precision import Precision, check_native
from adrl_gym.evaluation.ray_engine import RayEngine
from adrl_gym.evaluation.reference import whole_logits
from adrl_gym.evaluation.result_cache import ResultCache
from adrl_gym.evaluation.sequential_engine import SequentialEngine
from adrl_gym.graph import fast_layout
from adrl_gym.layers import LayerSpec, QuantizedParams
from adrl_gym.quantization import SequentialQuantizer

Split = Literal["search", "test"]


def check_score(score: Score, splits: Splits) -> None:
    """Refuse a score that there is not, or that the search images cannot give; raises ``AdrlGymError``."""
    if score not in SCORES:
        raise AdrlGymError(f"unknown score {score!r}: choose one of {', '.join(SCORES)}")
    if score == "loss" and splits.search.labels is None:
        raise AdrlGymError(
            f"the score loss needs labels, and {splits.name} images have none: "
            "choose kl or agreement, or give real images",
            parameter=("score", "data", "data_root"),
        )


class EvaluationSession:
    """Evaluates configurations of one network on its splits.

    Args:
        network: float, on the first device; not to be changed.
        layers: its quantizable layers.
        params: of every layer, bit-width -> quantized weights; looked up when they are first needed.
        splits: search images and, where there are any, test images.
        devices: where it runs.
        quantizer, bias_correction, input_precision: how ``params`` are made, for the cache.
        sequential: calibrates whole configurations instead, where ``evaluate`` and ``logits`` are to be of those.
        precision: of ``profile``.
        activation_memory: bytes of activations that later configurations begin from.
        cache: SQLite file of what is known, if any.
        workers: Ray actors that configurations are measured on, see ``parse_workers``; ``None`` for this process.

    Attributes:
        slice_size: search images that run at a time.
        fingerprint: hash of all that metrics of a configuration depend on.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        params: Sequence[Mapping[int, QuantizedParams]],
        splits: Splits,
        devices: Sequence[torch.device],
        *,
        quantizer: str,
        bias_correction: bool,
        input_precision: str,
        sequential: SequentialQuantizer | None,
        precision: Precision,
        activation_memory: int,
        cache: Path | None,
        workers: int | str | None = None,
    ) -> None:
        self._splits, self._devices = splits, devices
        self._float: Bits = (None,) * len(layers)
        self._floats: dict[Split, Tensor] = {}

        def engine(of: Precision) -> Evaluator:
            if workers is not None:
                return RayEngine(
                    network,
                    layers,
                    params,
                    splits.search,
                    workers,
                    devices=devices,
                    precision=of,
                    activation_memory=activation_memory,
                )
            return Engine(
                network, layers, params, splits.search, devices, precision=of, activation_memory=activation_memory
            )

        def cached(evaluator: Evaluator, of: Precision = "float32", recipe: str = "direct") -> CachedEvaluator:
            known = fingerprint(
                network,
                layers,
                splits.search,
                quantizer=quantizer,
                bias_correction=bias_correction,
                precision=of,
                recipe=recipe,
                input_precision=input_precision,
            )
            return CachedEvaluator(evaluator, ResultCache(cache, known), len(splits.search))

        exact = engine("float32")
        self.slice_size = exact.size
        profiler = exact
        if precision != "float32":
            check_native(precision, devices)
            profiler = engine(precision)
        self._profile = cached(profiler, precision)
        self.fingerprint = self._profile.cache.fingerprint
        if sequential is not None:
            evaluator = SequentialEngine(network, layers, splits.search, sequential, exact)
            self._evaluate = cached(evaluator, recipe=f"refit {sequential.settings}")
        else:
            self._evaluate = self._profile if profiler is exact else cached(exact)

    @property
    def passes(self) -> float:
        """Work done on search images, in passes of all of them through the whole network."""
        return sum(cached.evaluator.passes for cached in self._cached)

    @property
    def hits(self) -> int:
        """Questions answered from the cache."""
        return sum(cached.hits for cached in self._cached)

    @property
    def misses(self) -> int:
        """Questions that had to be computed."""
        return sum(cached.misses for cached in self._cached)

    def evaluate(self, bits: Bits, images: int) -> Metrics:
        """Measure a configuration on the first ``images`` search images."""
        return self._evaluate.evaluate([bits], 0, images)[0].metrics()

    def profile(self, configurations: Sequence[Bits], begin: int, end: int) -> list[SampleMetrics]:
        """Measure configurations, quantized layer by layer, on the search images ``begin`` to ``end``."""
        return self._profile.evaluate(configurations, begin, end)

    def measure(self, network: nn.Module, split: Split) -> Metrics:
        """Measure any network with the same images and classes on a split."""
        images = self.images(split)
        there = copy.deepcopy(network).eval().to(self._devices[0])
        first = next(self._splits.search.batches(self.slice_size))[0]  # (B, C, H, W)
        batches = (batch for batch, _ in images.batches(self.slice_size))
        logits = whole_logits(there, batches, fast_layout(there, first.to(self._devices[0])))  # (N, K)
        return sample_metrics(logits[None], self._float_logits(split), images.labels)[0].metrics()

    def test(self, bits: Bits) -> Metrics | None:
        """Measure a configuration on the test images, if there are any."""
        if self._splits.test is None:
            return None
        reference = self._float_logits("test")  # (N, K)
        quantized = any(width is not None for width in bits)
        logits = self._evaluate.evaluator.logits(self._splits.test, bits) if quantized else reference
        return sample_metrics(logits[None], reference, self._splits.test.labels)[0].metrics()

    def images(self, split: Split) -> Images:
        """Return the images of a split; raises ``AdrlGymError`` where there are none."""
        images = self._splits.search if split == "search" else self._splits.test
        if images is None:
            raise AdrlGymError(f"no test images: there are only {self._splits.source}")
        return images

    def forget(self) -> None:
        """Forget all that was measured; a cache's file stays, and is read again."""
        for cached in self._cached:
            cached.cache.forget()

    def close(self) -> None:
        """Release the cache's file and threads. Safe to use afterwards; caching is then in memory only."""
        for cached in self._cached:
            cached.cache.close()
            cached.evaluator.close()

    @property
    def _cached(self) -> set[CachedEvaluator]:
        return {self._evaluate, self._profile}

    def _float_logits(self, split: Split) -> Tensor:
        """The float network's logits on a split's images, ``(N, K)``."""
        if split not in self._floats:
            self._floats[split] = self._evaluate.evaluator.logits(self.images(split), self._float)
        return self._floats[split]
