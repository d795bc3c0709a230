"""Metrics of configurations: the interface of what computes them, and the cache in front of it."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images
from adrl_gym.evaluation.metrics import SampleMetrics
from adrl_gym.evaluation.result_cache import ResultCache


class Evaluator(Protocol):
    """Runs bit configurations of one network; ``Engine`` and ``SequentialEngine`` are two.

    Attributes:
        size: images in a slice; the last slice may be smaller.
    """

    size: int

    @property
    def passes(self) -> float:
        """Work done on search images, in passes of all of them through the whole network."""

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int]) -> list[list[SampleMetrics]]:
        """Return the metrics of every configuration on every one of ``slices`` (indices into the search images)."""

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """Return the logits ``(N, K)`` of one configuration on other images; on the CPU."""

    def forget(self) -> None:
        """Drop everything that is kept for later questions."""

    def close(self) -> None:
        """Drop everything that is kept, and end threads; a later question starts new ones."""


class CachedEvaluator:
    """Cached evaluator of configurations on the search images: the same question is computed once.

    Args:
        evaluator: computes what is not known.
        cache: what is known.
        images: how many search images there are.

    Attributes:
        hits, misses: configurations answered from the cache, and those that had to be computed.
    """

    def __init__(self, evaluator: Evaluator, cache: ResultCache, images: int) -> None:
        self.evaluator, self.cache = evaluator, cache
        self.hits = self.misses = 0
        self._images = images

    def evaluate(self, configurations: Sequence[Bits], begin: int, end: int) -> list[SampleMetrics]:
        """Return the metrics of configurations on search images ``begin`` to ``end``."""
        size = self.evaluator.size
        end = min(end, self._images)
        slices = range(begin // size, -(-end // size))
        missing: dict[tuple[int, ...], list[Bits]] = {}  # slices -> configurations that are not known there
        for bits in dict.fromkeys(map(tuple, configurations)):
            lacking = tuple(s for s in slices if s not in self.cache.get(bits))
            if any(b is not None for b in bits):  # the float network is a reference, not a question
                self.hits += not lacking
                self.misses += bool(lacking)
            if lacking:
                missing.setdefault(lacking, []).append(bits)
        for lacking, unknown in missing.items():
            found = self.evaluator.measure(unknown, lacking)  # [configuration][slice]
            self.cache.put(
                (bits, s, metrics)
                for bits, row in zip(unknown, found, strict=True)
                for s, metrics in zip(lacking, row, strict=True)
            )
        offset = begin - slices.start * size
        answers = []
        for bits in map(tuple, configurations):
            known = self.cache.get(bits)
            answers.append(SampleMetrics.join([known[s] for s in slices], offset, offset + end - begin))
        return answers
