"""What speed.py measures inside a process: one network's engine beside the plain way and the bare forward pass."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from adrl_agents.adrl import ProfilingIndicator, action_bins
from adrl_gym.bits import bits_from_action
from adrl_gym.datasets import ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Engine, ReferenceEvaluator, Score, check_native, sample_metrics
from adrl_gym.layers import find_layers
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import quantize_layers
from adrl_gym.sensitivity import SensitivityTable, measure_sensitivity

CPU = torch.device("cpu")
SCORE: Score = "kl"
CANDIDATES, PROFILE_IMAGES = 4, 250
SpeedRow = dict[str, Any]
Work = Callable[[], object]


def alternate(repeats: int, *works: Work, first: bool = True) -> list[list[float]]:
    """Seconds of each work, in turn; ``first``: each has run once before."""
    for work in works if first else ():
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return seconds


def row(case: str, variant: str, reference: str, over: Sequence[float], under: Sequence[float]) -> SpeedRow:
    """One line: ``over`` and ``under`` are seconds of variant and reference, repeat by repeat."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return {
        "case": case,
        "variant": variant,
        "reference": reference,
        "ratio": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
    }


class Bench:
    """One network's engine, plain evaluator and bare forward pass, on the same images."""

    def __init__(self, network: nn.Module, images: ImageSet, layers: Sequence[int], quantizer: str) -> None:
        every = find_layers(network, tuple(images.images.shape[1:]))
        chosen = [every[i] for i in layers] if layers else list(every)
        made = quantize_layers(
            network, chosen, images.images[:256], quantizer=quantizer, bits=range(1, 9), bias_correction=True
        )
        by_name = {layer.name: table for layer, table in zip(chosen, made, strict=True)}
        versions = [by_name.get(layer.name, {}) for layer in every]
        self.images, self.layers, self.measured = images, every, [every.index(layer) for layer in chosen]
        self.engine = Engine(network, every, versions, images, [CPU])
        self._network, self._versions = network, versions
        self.plain = ReferenceEvaluator(network, every, versions)
        self.bare = bare_forward(network, images)
        self.float: list[int | None] = [None] * len(every)
        self.four = [4 if i in self.measured else None for i in range(len(every))]
        self._reference = self.plain.logits(images, self.float)  # (N, K)

    def bfloat16(self) -> Engine:
        """Another engine, in that precision."""
        return Engine(self._network, self.layers, self._versions, self.images, [CPU], precision="bfloat16")

    def whole(self, engine: Engine | None = None) -> None:
        """One full evaluation by the engine, nothing kept from before."""
        engine = engine or self.engine
        engine.forget()
        engine.measure([self.four], range(engine.slices))

    def plainly(self, bits: Sequence[int | None] | None = None) -> None:
        """One full evaluation by the plain way, with the same metrics."""
        logits = self.plain.logits(self.images, bits or self.four)  # (N, K)
        sample_metrics(logits[None], self._reference, self.images.labels)

    def alone(self, layer: int, bits: int) -> list[int | None]:
        """All float but one layer."""
        return [*self.float[:layer], bits, *self.float[layer + 1 :]]

    def changes(self) -> None:
        """After a whole configuration, one layer changed: every layer in turn, each from what was kept."""
        for layer in self.measured:
            self.engine.forget()
            changed = [*self.four[:layer], 5, *self.four[layer + 1 :]]
            self.engine.measure([self.four, changed], range(self.engine.slices))

    def table(self, images: int | None = None) -> None:
        """Every measured layer at every bit-width, on the first ``images`` (default: all)."""
        self.engine.forget()
        slices = self.engine.slices if images is None else math.ceil(images / self.engine.size)
        for layer in self.measured:
            self.engine.measure([self.alone(layer, b) for b in range(1, 9)], range(slices))


def bare_forward(network: nn.Module, images: ImageSet) -> Work:
    """The float network with batch norm folded, channels last, small batches, one thread each: the best found."""
    size = 50 if images.images.shape[-1] <= 32 else 8
    batches = images.images.to(memory_format=torch.channels_last).split(size)
    workers = torch.get_num_threads()
    copies = [fuse(network.eval()).to(memory_format=torch.channels_last) for _ in range(workers)]
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))

    def share(worker: int) -> list[Tensor]:
        with torch.inference_mode():
            return [copies[worker](batch) for batch in batches[worker::workers]]

    return lambda: list(pool.map(share, range(workers)))


def forward_cases(bench: Bench, repeats: int) -> Iterator[SpeedRow]:
    """Full evaluation against the plain way and the lower bound."""
    engine, plain, bare = alternate(repeats, bench.whole, bench.plainly, bench.bare)
    yield row("full_evaluation", "engine", "plain", engine, plain)
    yield row("full_evaluation", "engine", "bare forward", engine, bare)
    yield row("bare_forward", "bare forward", "plain", bare, plain)


def bfloat16_cases(bench: Bench, repeats: int) -> Iterator[SpeedRow]:
    """The option of profiling in bfloat16, where the processor has it."""
    try:
        check_native("bfloat16", [CPU])
    except AdrlGymError as error:
        print(error, file=sys.stderr)
        return
    half = bench.bfloat16()
    fast, exact = alternate(repeats, lambda: bench.whole(half), bench.whole)
    yield row("full_evaluation", "engine, bfloat16", "engine", fast, exact)


def layer_cases(bench: Bench, repeats: int) -> Iterator[SpeedRow]:
    """Change of one layer, and the table of all layers alone."""
    works = [bench.changes, bench.table, lambda: bench.table(PROFILE_IMAGES), bench.whole]
    changes, table, some, whole = alternate(repeats, *works)
    count = len(bench.measured)
    one_change = [(c / count - w) for c, w in zip(changes, whole, strict=True)]  # without the configuration before it
    yield row("one_layer_change", "engine", "engine, whole", one_change, whole)
    reference = "engine, whole, n x 8 times"
    yield row("table", "engine, all images", reference, table, [8 * count * w for w in whole])
    if len(bench.images) > PROFILE_IMAGES:
        yield row("table", f"engine, {PROFILE_IMAGES} images", reference, some, [8 * count * w for w in whole])


def candidate_cases(problem: QuantProblem, bench: Bench, repeats: int) -> Iterator[SpeedRow]:
    """One episode's choices among candidates, each on at most 250 images, against plain passes over as many.

    The candidates are those that ADRL begins with: the middles of its shares.
    """
    some = ImageSet(bench.images.images[:PROFILE_IMAGES], None)
    costs = measure_sensitivity(problem, SCORE, PROFILE_IMAGES)
    best = SensitivityTable.of(problem, costs).knapsack.complete(())
    candidates = [bits_from_action(float(m), problem.min_bits, problem.max_bits) for m in action_bins(CANDIDATES)[0]]

    def plain_episode() -> None:
        for _ in range(len(best) * len(candidates)):
            bench.plain.logits(some, best)

    for context in ("single", "prefix", "completed"):
        indicator = ProfilingIndicator(context, SCORE, PROFILE_IMAGES)

        def episode(indicator: ProfilingIndicator = indicator) -> None:
            for layer in range(len(best)):
                indicator(problem, best[:layer], candidates)

        def cold(indicator: ProfilingIndicator = indicator) -> None:
            table = indicator._known  # the table is a case of its own
            forget(problem)
            indicator._known = table
            episode(indicator)

        episode()
        variant = "table look-up" if context == "single" else "engine, early stopping"
        times, plain = alternate(repeats, cold, plain_episode)
        yield row(f"candidates_{context}", variant, "plain, every candidate", times, plain)


def forget(problem: QuantProblem) -> None:
    """Reset it as if the problem had just been made."""
    for source in problem._sources.values():
        source.memo.forget()
        source.engine.forget()
