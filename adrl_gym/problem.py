"""The quantization problem: one network, its layers, a quantizer, images and a budget."""

import copy
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from adrl_gym import budget as sizes
from adrl_gym.bits import check_bits
from adrl_gym.data.fit import check_fit
from adrl_gym.data.splits import Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Evaluator, Metrics, Score, Tally, prepare_layers
from adrl_gym.evaluation.evaluator import BATCH
from adrl_gym.layers import find_layers, quantizable
from adrl_gym.networks.checkpoints import content_hash

Bits = Sequence[int | None]  # a bit-width for every layer; None leaves the layer float


class QuantProblem:
    """What every agent and every search talks to: measure a bit configuration, fit it to the budget.

    Args:
        network: float32; it is put into evaluation mode and otherwise left alone.
        splits: search images and, where there are any, test images.
        quantizer: ``gptq``, ``linear`` or ``kmeans``.
        budget: largest size over the 32-bit size, for example 0.0625 for 16 times smaller.
        bits: lowest and highest bit-width, within 1 to 8.
        bias_correction: let each layer's bias absorb the mean error of its quantized weights.
        device: ``auto`` (CUDA where there is one), or any torch device.
        name: of the network, for results.
        progress: show a bar while the layers are quantized.

    Attributes:
        layers: the quantizable layers in forward order.
        evaluations: work done so far, in passes of all search images through the whole network.
        memo_hits, memo_misses: questions answered from the memo, and those that had to be computed.

    Raises:
        AdrlGymError: nothing to quantize, an impossible budget, NaN weights, images or labels that do not fit.
    """

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        *,
        quantizer: str = "gptq",
        budget: float = 0.0625,
        bits: tuple[int, int] = (1, 8),
        bias_correction: bool = True,
        device: str = "auto",
        name: str = "own",
        progress: bool = False,
    ) -> None:
        self.lowest, self.highest = bits
        if not 1 <= self.lowest <= self.highest <= 8:
            raise AdrlGymError(f"bits={bits}: the range needs 1 <= lowest <= highest <= 8")
        sizes.check_budget(budget, self.lowest)
        network = network.eval()
        check_fit(network, splits.search)
        if splits.test is not None:
            check_fit(network, splits.test)
        self.name, self.quantizer, self.budget = name, quantizer, budget
        self.bias_correction, self.splits = bias_correction, splits
        self.checkpoint = content_hash(network.state_dict())
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.layers = find_layers(network, tuple(splits.search.images.shape[1:]))
        self.parameters = tuple(layer.parameters for layer in self.layers)
        widths = range(self.lowest, self.highest + 1)
        versions = prepare_layers(
            network.to(self.device),
            self.layers,
            splits.search.images,
            quantizer=quantizer,
            bits=widths,
            bias_correction=bias_correction,
            progress=progress,
        )
        self.distances = np.array(  # (n, widths): squared weight error over squared weights, of each layer
            [
                [_relative_error(quantizable(network, layer).weight.detach(), table[b].weight) for b in widths]
                for layer, table in zip(self.layers, versions, strict=True)
            ]
        )
        self._evaluator = Evaluator(network, self.layers, versions, self.device)
        self._float_logits = torch.cat(
            [self._evaluator.logits(images) for images, _ in splits.search.batches(BATCH)]
        )  # (N, K)
        self._memo: dict[tuple[tuple[int | None, ...], int], Metrics] = {}
        # Where a pass was stopped: the least cost that is certain.
        self._least_cost: dict[tuple[tuple[int | None, ...], int, Score], float] = {}
        self.evaluations = 0.0
        self.memo_hits = self.memo_misses = 0

    @cached_property
    def float_search(self) -> Metrics:
        """The float network on the search images."""
        return self._pass((None,) * len(self.layers), len(self.splits.search), "kl", math.inf).metrics()

    @cached_property
    def float_test(self) -> Metrics | None:
        """The float network on the test images, if there are any."""
        return self._test((None,) * len(self.layers))

    def evaluate(self, bits: Bits, images: int | None = None) -> Metrics:
        """A configuration on the first ``images`` search images (default: all). The same question is computed once."""
        metrics = self._ask(bits, images, "kl", math.inf)
        assert metrics is not None
        return metrics

    def profile(self, bits: Bits, score: Score, images: int | None = None, limit: float = math.inf) -> float:
        """The cost of a configuration under ``score`` (see ``Metrics.cost``), or infinity once it passes ``limit``.

        Profiling stops early as soon as the images seen cost more than ``limit`` would over all images: the answer
        is then certain, not estimated (costs never fall as images come in).
        """
        metrics = self._ask(bits, images, score, limit)
        return math.inf if metrics is None else metrics.cost(score)

    def test(self, bits: Sequence[int]) -> Metrics | None:
        """A configuration on the test images, if there are any; for reports, never for the search."""
        return self._test(check_bits(bits, len(self.layers), self.lowest, self.highest))

    def quantized(self, bits: Sequence[int]) -> nn.Module:
        """A copy of the network with these bits' quantized weights and corrected biases, on the CPU."""
        self._evaluator.set_bits(check_bits(bits, len(self.layers), self.lowest, self.highest))
        return copy.deepcopy(self._evaluator.network).cpu().to(memory_format=torch.contiguous_format)

    def project(self, bits: Sequence[int]) -> tuple[int, ...]:
        """HAQ's action wall: the nearest configuration below that meets the budget."""
        return sizes.project(bits, self.parameters, self.budget, self.lowest)

    def size_ratio(self, bits: Sequence[int]) -> float:
        """Weight bits over 32-bit weight bits."""
        return sizes.size_ratio(bits, self.parameters)

    def average_bits(self, bits: Sequence[int]) -> float:
        """Bits a weight."""
        return sizes.average_bits(bits, self.parameters)

    def _ask(self, bits: Bits, images: int | None, score: Score, limit: float) -> Metrics | None:
        count = min(images or len(self.splits.search), len(self.splits.search))
        key = tuple(bits), count
        if key in self._memo or self._least_cost.get((*key, score), 0.0) > limit:
            self.memo_hits += 1
            return self._memo.get(key)
        self.memo_misses += 1
        tally = self._pass(key[0], count, score, limit)
        self.evaluations += tally.images / len(self.splits.search)
        if tally.images == count:
            self._memo[key] = tally.metrics()
        else:
            self._least_cost[(*key, score)] = tally.least_cost(score, count)
        return self._memo.get(key)

    def _pass(self, bits: Bits, count: int, score: Score, limit: float) -> Tally:
        """Sums over the first ``count`` search images, or over fewer once it is certain that ``limit`` is passed."""
        self._evaluator.set_bits(bits)
        tally = Tally()
        for images, labels in self.splits.search.first(count).batches(BATCH):
            reference = self._float_logits[tally.images : tally.images + len(images)]  # (B, K)
            tally.add(self._evaluator.logits(images), reference, _to(labels, self.device))
            if tally.least_cost(score, count) > limit:
                break
        return tally

    @cached_property
    def _float_test_logits(self) -> list[Tensor]:
        """The float network's logits on every batch of test images, ``(B, K)`` each."""
        assert self.splits.test is not None
        self._evaluator.set_bits((None,) * len(self.layers))
        return [self._evaluator.logits(images) for images, _ in self.splits.test.batches(BATCH)]

    def _test(self, bits: Bits) -> Metrics | None:
        if self.splits.test is None:
            return None
        tally, references = Tally(), self._float_test_logits
        self._evaluator.set_bits(bits)
        for reference, (images, labels) in zip(references, self.splits.test.batches(BATCH), strict=True):
            tally.add(self._evaluator.logits(images), reference, _to(labels, self.device))
        return tally.metrics()


def _relative_error(weight: Tensor, quantized: Tensor) -> float:
    scale = float(weight.square().sum())
    return float((weight - quantized).square().sum()) / scale if scale else 0.0


def _to(labels: Tensor | None, device: torch.device) -> Tensor | None:
    return None if labels is None else labels.to(device)
