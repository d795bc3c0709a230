"""Where outcomes come from: the memo where they are known, else the engine."""

from collections.abc import Sequence

from adrl_gym.bits import Bits
from adrl_gym.evaluation.engine import Engine
from adrl_gym.evaluation.metrics import SampleMetrics
from adrl_gym.evaluation.result_cache import Memo
from adrl_gym.evaluation.sequential_engine import SequentialEngine


class CachedEvaluator:
    """Answers questions about configurations on the search images, and computes the same one once.

    Args:
        engine: what computes.
        memo: what is known.
        images: how many search images there are.
        slice_size: how many of them run at a time.

    Attributes:
        hits, misses: questions answered from the memo, and those that had to be computed.
    """

    def __init__(self, engine: Engine | SequentialEngine, memo: Memo, images: int, slice_size: int) -> None:
        self.engine, self.memo = engine, memo
        self.hits = self.misses = 0
        self._images, self._slice_size = images, slice_size

    def ask(self, configurations: Sequence[Bits], begin: int, end: int) -> list[SampleMetrics]:
        """SampleMetrics of configurations on search images ``begin`` to ``end``."""
        size = self._slice_size
        slices = range(begin // size, -(-min(end, self._images) // size))
        missing: dict[tuple[int, ...], list[Bits]] = {}  # slices -> configurations that are not known there
        for bits in dict.fromkeys(map(tuple, configurations)):
            lacking = tuple(s for s in slices if s not in self.memo.get(bits))
            if any(b is not None for b in bits):  # the float network is a reference, not a question
                self.hits += not lacking
                self.misses += bool(lacking)
            if lacking:
                missing.setdefault(lacking, []).append(bits)
        for lacking, asked in missing.items():
            found = self.engine.measure(asked, lacking)  # [configuration][slice]
            self.memo.put(
                (bits, s, outcomes)
                for bits, row in zip(asked, found, strict=True)
                for s, outcomes in zip(lacking, row, strict=True)
            )
        offset = begin - slices.start * size
        answers = []
        for asked_bits in configurations:
            known = self.memo.get(asked_bits)
            answers.append(
                SampleMetrics.join([known[s] for s in slices], offset, offset + min(end, self._images) - begin)
            )
        return answers
