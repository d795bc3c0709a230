"""The quantization problem: one network, its layers, a quantizer, images and a budget."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from adrl_gym import costs as sizes
from adrl_gym.bits import Bits, check_bits, check_partly_float, check_range, match_keep, natural
from adrl_gym.datasets import Splits, check_fit
from adrl_gym.devices import check_device
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import (
    ACTIVATION_MEMORY,
    IN_NATS,
    SCORES,
    CachedEvaluator,
    Engine,
    Memo,
    Metrics,
    Precision,
    Score,
    SequentialEngine,
    check_native,
    compare,
    fingerprint,
    race,
    whole_logits,
)
from adrl_gym.graph import fast_layout
from adrl_gym.layers import find_layers, quantizable, quantized_copy, unquantized
from adrl_gym.models import content_hash
from adrl_gym.quantization import CALIBRATION_IMAGES, RECIPES, Recipe, SequentialQuantizer, quantize_layers

Split = Literal["search", "test"]
Width = TypeVar("Width", int, int | None)
ERROR_RATE = 0.05  # that a comparison drops the best candidate; what it saves is in docs/evaluation.md, Ablations


class QuantProblem:
    """What every agent and every search talks to: measure a bit configuration, fit it to the budget.

    Args:
        network: float32; it is put into evaluation mode and otherwise left alone (where ``device`` is not where it
            lies, a copy goes there).
        splits: search images and, where there are any, test images.
        quantizer: ``gptq``, ``linear`` or ``kmeans``.
        budget: largest size over the 32-bit size, for example 0.0625 for 16 times smaller.
        bits: lowest and highest bit-width, within 1 to 8.
        bias_correction: let each layer's bias absorb the mean error of its quantized weights.
        device: ``auto`` (CUDA where there is any), or any torch device; several, divided by commas, share the images.
        keep: pattern of layer names -> bits of the layers that are not searched, for example ``{"fc": 8}``
            (see ``match_keep``). They count in the size and the budget, and may be outside ``bits``.
        name: of the network, for results.
        memo: SQLite file of what is known already, shared by runs and processes (see ``Memo``); ``None`` for none.
        activation_memory: bytes that kept activations may take; 0 keeps none.
        profile_precision: ``float32`` or ``bfloat16``, of ``costs`` and ``compare``. ``evaluate`` and ``test``, and so
            all that is reported, are float32.
        recipe: how bits become the network that ``evaluate``, ``test`` and ``quantized`` are about: ``direct``, every
            layer quantized by itself, or ``refit``, layer after layer against what the quantized layers before
            deliver (see ``SequentialQuantizer``; some seconds each). ``costs`` and ``compare`` are always direct.
        progress: show a bar while the layers are quantized.

    Attributes:
        network: the float network; not to be changed.
        layers: all quantizable layers in forward order. A configuration has a bit-width for each of them.
        kept: index of each layer that is not searched -> its bits.
        free: indices of the layers that are searched.
        unquantized: one line on weights that no layer covers, so that they stay float; ``None`` if there are none.
        images: how many search images there are.
        slice_size: how many of them run at a time.

    Raises:
        AdrlGymError: nothing to quantize, an impossible budget, NaN weights, images or labels that do not fit, a device
            that cannot be used.
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
        device: str | torch.device = "auto",
        keep: Mapping[str, int] | None = None,
        name: str = "own",
        memo: str | Path | None = None,
        activation_memory: int = ACTIVATION_MEMORY,
        profile_precision: Precision = "float32",
        recipe: Recipe = "direct",
        progress: bool = False,
    ) -> None:
        self.min_bits, self.max_bits = check_range(bits)
        _check_number(budget)
        _check_recipe(recipe)
        devices = check_device(device)
        network = network.eval()
        check_fit(network, splits.search)
        if splits.test is not None:
            check_fit(network, splits.test)
        self.name, self.quantizer, self.budget = name, quantizer, budget
        self.bias_correction, self.splits, self.recipe = bias_correction, splits, recipe
        self.checkpoint = content_hash(network.state_dict())
        self.images = len(splits.search)
        self.layers = find_layers(network, tuple(splits.search.images.shape[1:]))
        self.parameters = tuple(layer.parameters for layer in self.layers)
        self.unquantized = unquantized(network, self.layers)
        self.fixed_bits = match_keep(keep or {}, [layer.name for layer in self.layers])
        self.searchable = tuple(index for index in range(len(self.layers)) if index not in self.fixed_bits)
        sizes.check_budget(budget, self.parameters, self.min_bits, self.fixed_bits)
        widths = range(self.min_bits, self.max_bits + 1)
        if next(network.parameters()).device != devices[0]:
            network = copy.deepcopy(network).to(devices[0])
        versions = quantize_layers(
            network,
            self.layers,
            splits.search.images,
            quantizer=quantizer,
            bits=sorted({*widths, *self.fixed_bits.values()}),
            bias_correction=bias_correction,
            progress=progress,
        )
        self.distances = np.array(  # (n, widths): squared weight error over squared weights, of each layer
            [
                [_relative_error(quantizable(network, layer).weight.detach(), table[b].weight) for b in widths]
                for layer, table in zip(self.layers, versions, strict=True)
            ]
        )
        self.network, self._versions = network, versions
        self._memo_file = None if memo is None else Path(memo)
        self._devices, self._activation_memory = devices, activation_memory // (2 if recipe == "refit" else 1)
        engine = self._make_engine("float32")
        self.slice_size = engine.size
        profiler = engine
        if profile_precision != "float32":
            check_native(profile_precision, devices)
            profiler = self._make_engine(profile_precision)
        profile = self._source(profiler, profile_precision)
        if recipe == "refit":
            refits = SequentialEngine(network, self.layers, splits.search, self._refitter, engine)
            evaluate = self._source(refits, recipe=f"refit {self._refitter.settings}")
        else:
            evaluate = profile if profiler is engine else self._source(engine)
        self._sources: dict[Literal["evaluate", "profile"], CachedEvaluator] = {
            "evaluate": evaluate,
            "profile": profile,
        }
        self._floats: dict[Split, Tensor] = {}

    @property
    def evaluations(self) -> float:
        """Work done so far, in passes of all search images through the whole network.

        A pass over part of the images or of the network counts as its share of multiply-accumulates; what the memo
        answers counts nothing.
        """
        return sum(source.engine.passes for source in set(self._sources.values()))

    @property
    def memo_hits(self) -> int:
        """Questions answered from the memo so far."""
        return sum(source.hits for source in set(self._sources.values()))

    @property
    def memo_misses(self) -> int:
        """Questions that had to be computed so far."""
        return sum(source.misses for source in set(self._sources.values()))

    @cached_property
    def float_search(self) -> Metrics:
        """The float network on the search images."""
        return self.evaluate((None,) * len(self.layers))

    @cached_property
    def float_test(self) -> Metrics | None:
        """The float network on the test images, if there are any."""
        return self._test((None,) * len(self.layers))

    def evaluate(self, bits: Bits, images: int | None = None) -> Metrics:
        """A configuration on the first ``images`` search images (default: all). The same question is computed once.

        Args:
            bits: of all layers, within this problem's range or as kept; ``None`` leaves a layer float.
            images: how many, all if there are fewer.

        Raises:
            AdrlGymError: other bits, or fewer than 1 image.
        """
        return self._sources["evaluate"].ask([self._checked(bits)], 0, self._count(images))[0].metrics()

    def costs(self, configurations: Sequence[Bits], score: Score, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Costs of configurations on each of the search images ``begin`` to ``end``, float64 ``(m, end - begin)``.

        Together they cost less than one by one: what several have in common, from the first layer on, runs once.

        Raises:
            AdrlGymError: bits that ``evaluate`` refuses, images that there are not, an unknown score, the loss of
                images without labels.
        """
        if score not in SCORES:
            raise AdrlGymError(f"unknown score {score!r}: choose one of {', '.join(SCORES)}")
        if score == "loss" and self.splits.search.labels is None:
            raise AdrlGymError(
                f"the score loss needs labels, and {self.splits.name} images have none: "
                "choose kl or agreement, or give real images (--data, --data-root)"
            )
        end = self.images if end is None else end
        if not 0 <= begin < end <= self.images:
            raise AdrlGymError(f"search images {begin} to {end}: there are those from 0 to {self.images}")
        found = self._sources["profile"].ask([self._checked(bits) for bits in configurations], begin, end)
        return np.stack([outcomes.costs(score) for outcomes in found])

    def compare(
        self,
        configurations: Sequence[Bits],
        score: Score,
        *,
        offsets: Sequence[float] | None = None,
        images: int | None = None,
        error_rate: float = ERROR_RATE,
    ) -> list[float]:
        """Mean costs of configurations (see ``SampleMetrics.costs``) plus offsets; infinite once one cannot win.

        See ``race``: ``error_rate`` is the probability that the cheapest one drops out; 0 runs all on all images.

        Raises:
            AdrlGymError: see ``costs``; fewer than 1 image.
        """
        return race(
            lambda chosen, begin, end: self.costs([configurations[i] for i in chosen], score, begin, end),
            [0.0] * len(configurations) if offsets is None else offsets,
            self._count(images),
            error_rate,
            unit=0.0 if score in IN_NATS else 100.0,
            step=self.slice_size,
        )

    def forget(self) -> None:
        """Forget all that was measured; what is in a memo's file stays there, and is read again."""
        for source in self._sources.values():
            source.memo.forget()

    def close(self) -> None:
        """Let go of the memo's file and of threads. What is asked later is answered all the same, without the file."""
        for source in self._sources.values():
            source.memo.close()
            source.engine.close()

    def test(self, bits: Sequence[int]) -> Metrics | None:
        """A configuration on the test images, if there are any; for reports, never for the search."""
        return self._test(check_bits(bits, *self._allowed))

    def measure(self, network: nn.Module, split: Split = "search") -> Metrics:
        """Any network with the same images and classes, for example a finetuned one, on the images of a split.

        Raises:
            AdrlGymError: there are no test images.
        """
        images = self.splits.search if split == "search" else self.splits.test
        if images is None:
            raise AdrlGymError(f"no test images: there are only {self.splits.source}")
        there = copy.deepcopy(network).eval().to(self._devices[0])
        batches = (batch for batch, _ in images.batches(self.slice_size))
        logits = whole_logits(there, batches, fast_layout(there, self._first().to(self._devices[0])))  # (N, K)
        return compare(logits[None], self._float_logits(split), images.labels)[0].metrics()

    def quantized(self, bits: Sequence[int], recipe: Recipe | None = None) -> nn.Module:
        """A copy of the network with these bits' quantized weights and corrected biases, on the CPU.

        ``recipe`` says how, where it is to be another than this problem's own; refitting takes some seconds.

        Raises:
            AdrlGymError: bits outside this problem's range, an unknown recipe, a network that cannot be refitted.
        """
        whole = check_bits(bits, *self._allowed)
        if _check_recipe(self.recipe if recipe is None else recipe) == "refit":
            versions = self._refitter.versions(whole)
        else:
            versions = [table[b] for table, b in zip(self._versions, whole, strict=True)]
        return quantized_copy(self.network, self.layers, versions)

    def project(self, bits: Sequence[int]) -> tuple[int, ...]:
        """HAQ's action wall: the nearest configuration below that meets the budget, kept layers at their bits."""
        return sizes.project(bits, self.parameters, self.budget, self.min_bits, self.fixed_bits)

    def with_kept(self, bits: Sequence[Width]) -> tuple[Width | int, ...]:
        """Bit-widths of the searched layers, ``len(free)`` of them, to those of all layers."""
        whole: dict[int, Width | int] = {**self.fixed_bits, **dict(zip(self.searchable, bits, strict=True))}
        return tuple(whole[index] for index in range(len(self.layers)))

    def size_ratio(self, bits: Sequence[int]) -> float:
        """Weight bits over 32-bit weight bits."""
        return sizes.size_ratio(bits, self.parameters)

    def average_bits(self, bits: Sequence[int]) -> float:
        """Bits a weight."""
        return sizes.average_bits(bits, self.parameters)

    @property
    def _allowed(self) -> tuple[int, int, int, dict[int, int]]:
        """What ``check_bits`` asks of a configuration."""
        return len(self.layers), self.min_bits, self.max_bits, self.fixed_bits

    def _checked(self, bits: Bits) -> tuple[int | None, ...]:
        return check_partly_float(bits, *self._allowed)

    def _count(self, images: int | None) -> int:
        """How many search images that is; ``None`` is all."""
        if images is None:
            return self.images
        if not natural(images):
            raise AdrlGymError(f"images={images!r}: at least 1 search image is needed; leave it out for all")
        return min(natural(images), self.images)

    def _first(self) -> Tensor:
        """The first search images, ``(B, ...)``."""
        return next(self.splits.search.batches(self.slice_size))[0]

    def _make_engine(self, precision: Precision) -> Engine:
        return Engine(
            *(self.network, self.layers, self._versions, self.splits.search, self._devices),
            precision=precision,
            activation_memory=self._activation_memory,
        )

    @cached_property
    def _refitter(self) -> SequentialQuantizer:
        return SequentialQuantizer(
            *(self.network, self.layers, self.splits.search.images[:CALIBRATION_IMAGES]),
            quantizer=self.quantizer,
            bias_correction=self.bias_correction,
            activation_memory=self._activation_memory if self.recipe == "refit" else 0,  # else the engine has it all
        )

    def _source(
        self, engine: Engine | SequentialEngine, precision: Precision = "float32", recipe: str = "direct"
    ) -> CachedEvaluator:
        known = fingerprint(
            *(self.network, self.layers, self.splits.search),
            quantizer=self.quantizer,
            bias_correction=self.bias_correction,
            precision=precision,
            recipe=recipe,
        )
        return CachedEvaluator(engine, Memo(self._memo_file, known), self.images, self.slice_size)

    def _float_logits(self, split: Split) -> Tensor:
        """The float network's logits on a split's images, ``(N, K)``."""
        if split not in self._floats:
            images = self.splits.search if split == "search" else self.splits.test
            assert images is not None
            self._floats[split] = self._sources["evaluate"].engine.logits(images, (None,) * len(self.layers))
        return self._floats[split]

    def _test(self, bits: Bits) -> Metrics | None:
        if self.splits.test is None:
            return None
        reference = self._float_logits("test")  # (N, K)
        quantized = any(width is not None for width in bits)
        logits = self._sources["evaluate"].engine.logits(self.splits.test, bits) if quantized else reference
        return compare(logits[None], reference, self.splits.test.labels)[0].metrics()


def _check_number(budget: object) -> None:
    if not isinstance(budget, Real):
        raise AdrlGymError(f"budget={budget!r}: a number is needed, for example 0.0625 for 16 times smaller")


def _check_recipe(recipe: Recipe) -> Recipe:
    if recipe not in RECIPES:
        raise AdrlGymError(f"unknown recipe {recipe!r}: choose one of {', '.join(RECIPES)}")
    return recipe


def _relative_error(weight: Tensor, quantized: Tensor) -> float:
    scale = float(weight.square().sum())
    return float((weight - quantized).square().sum()) / scale if scale else 0.0
