"""Many configurations on many images, in as little time as the device allows."""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images, check_finite_logits
from adrl_gym.evaluation.metrics import SampleMetrics, sample_metrics
from adrl_gym.evaluation.placed_params import PlacedParams
from adrl_gym.evaluation.precision import DTYPES, Precision
from adrl_gym.evaluation.runner import ModuleRunner, Runner, SubgraphRunner
from adrl_gym.graph import ActivationCache, BatchNorm, TraceError, fast_layout, partition_network, placed, to_layout
from adrl_gym.layers import LayerSpec, QuantizedParams, own_params, peak_activations, quantizable

SLICE_BYTES = 2**24  # of one layer's activations: larger slices fall out of a core's share of the last-level cache
LARGEST_SLICE = 50


def slice_size(layers: Sequence[LayerSpec]) -> int:
    """Return the number of images that run at a time: as many as keep a layer's input and output in ``SLICE_BYTES``.

    For CIFAR's networks that is ``LARGEST_SLICE``, for ResNet50 at 224 x 224 pixels 4, for EfficientNet-Lite1 2.
    """
    return max(1, min(LARGEST_SLICE, SLICE_BYTES // (4 * peak_activations(layers))))


class Engine:
    """Runs configurations on the search images, slice by slice, and on any other images.

    On a CPU, slices run side by side, each on one thread: that is faster than all threads on one slice, and makes
    results independent of the number of threads. On CUDA, TF32 is off, so that predictions are those of the CPU
    up to rounding.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        params: of every layer, bit-width -> quantized weights; looked up when they are first needed.
        search: the search images.
        devices: where it runs; slices are shared out evenly. One CPU device stands for all its threads.
        precision: ``float32`` or ``bfloat16``.
        activation_memory: bytes of kept activations; 0 keeps none.

    Attributes:
        slices: of the search images.
        size: images in a slice; the last one may be smaller.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        params: Sequence[Mapping[int, QuantizedParams]],
        search: Images,
        devices: Sequence[torch.device],
        *,
        precision: Precision = "float32",
        activation_memory: int = 0,
    ) -> None:
        network = copy.deepcopy(network).eval().requires_grad_(False).cpu()
        batches = list(search.batches(slice_size(layers)))
        self.size, self.slices = len(batches[0][0]), len(batches)
        self._one_pass = len(search) * sum(layer.macs for layer in layers)
        self._dtype = DTYPES[precision]
        self._kept = ActivationCache(activation_memory)
        self._network = network
        self._params: list[list[PlacedParams]] = []  # [device][layer]
        self._runners = self._make_runners(network, layers, params, devices, batches[0][0])
        # Slice s always runs on runner s modulo their number, so that what is kept of it lies on that device.
        self._batches = [
            (self._placed(images, self._home(s)), None if labels is None else labels.to(self._home(s)))
            for s, (images, labels) in enumerate(batches)
        ]
        self._references: dict[int, Tensor] = {}  # slice -> the float network's logits (B, K)
        self._float: Bits = (None,) * len(layers)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def passes(self) -> float:
        """Work done on search images, in passes of all of them through the whole network."""
        return sum(runner.work for runner in self._runners) / self._one_pass

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int]) -> list[list[SampleMetrics]]:
        """Return the metrics of every configuration on every one of ``slices`` (indices into the search images)."""
        if not configurations or not slices:
            return [[] for _ in configurations]
        self._prepare(configurations)
        by_slice = self._spread(slices, lambda runner, s: self._slice(runner, s, configurations))
        return [[by_slice[s][c] for s in slices] for c in range(len(configurations))]

    def search_logits(self, configurations: Sequence[Bits]) -> Tensor:
        """Logits ``(M, N, K)`` of configurations on all search images, got as ``measure`` gets them; on the CPU."""
        self._prepare(configurations)
        by_slice = self._spread(
            range(self.slices),
            lambda runner, s: runner.logits(self._batches[s][0], configurations, s, self._kept).float().cpu(),
        )
        return torch.cat([by_slice[s] for s in range(self.slices)], dim=1)  # (M, N, K)

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """Logits ``(N, K)`` of one configuration on other images, which are read batch by batch; on the CPU."""
        self._prepare([bits])
        nothing = ActivationCache(0)

        def run(job: tuple[Runner, torch.device, Tensor]) -> Tensor:
            runner, device, batch = job
            before = runner.work
            logits = runner.logits(self._placed(batch, device), [bits], -1, nothing)[0]  # (B, K)
            runner.work = before  # other images than those of the search
            return logits.float().cpu()

        found: list[Tensor] = []
        for chunk in _chunks((x for x, _ in images.batches(self.size)), len(self._runners)):
            found += self._map(run, list(zip(self._runners, self._devices, chunk, strict=False)))
        return torch.cat(found)  # (N, K)

    def forget(self) -> None:
        """Let go of the kept activations."""
        self._kept.clear()

    def close(self) -> None:
        """Let go of the kept activations and the threads; a later question starts new ones."""
        self.forget()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def _make_runners(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        params: Sequence[Mapping[int, QuantizedParams]],
        devices: Sequence[torch.device],
        images: Tensor,
    ) -> list[Runner]:
        modules = [quantizable(network, layer) for layer in layers]
        own = [own_params(module) for module in modules]
        norms: list[BatchNorm | None] = [None] * len(layers)
        subgraphs = None
        layout = torch.channels_last
        try:
            subgraphs, norms = partition_network(network, layers, images)
        except TraceError as reason:
            warnings.warn(
                f"torch.fx cannot partition {type(network).__name__} at its layers ({reason}), so every evaluation is "
                "a whole pass: the same results, but slower",
                stacklevel=2,
            )
            layout = fast_layout(network, images)
        self._devices, runners = [], []
        for device in devices:
            copies = torch.get_num_threads() if device.type == "cpu" and len(devices) == 1 else 1
            there = [PlacedParams(*one, device, self._dtype, layout) for one in zip(params, own, norms, strict=True)]
            if subgraphs is None:
                module = to_layout(copy.deepcopy(network).to(device, self._dtype), layout)
                runner: Runner = ModuleRunner(module, layers, there, layout)
            else:
                moved = copy.deepcopy(subgraphs)
                for subgraph in moved:
                    to_layout(subgraph.run.to(device, self._dtype), layout)
                runner = SubgraphRunner(moved, layers, there, self.slices)
            runners.append(runner)
            runners += [runner.replica() for _ in range(copies - 1)]
            self._devices += [device] * copies
            self._params.append(there)
        return runners

    def _prepare(self, configurations: Sequence[Bits]) -> None:
        """Make the weights that configurations need, before threads ask for them."""
        for layer, widths in enumerate(zip(*configurations, strict=True)):
            for there in self._params:
                there[layer].prepare(widths)

    def _home(self, slice_: int) -> torch.device:
        return self._devices[slice_ % len(self._devices)]

    def _placed(self, images: Tensor, device: torch.device) -> Tensor:
        kind = self._dtype if images.is_floating_point() else images.dtype  # tokens stay integers
        return placed(images.to(device, kind), torch.channels_last)

    def _slice(self, runner: Runner, slice_: int, configurations: Sequence[Bits]) -> list[SampleMetrics]:
        self._slice_reference(runner, slice_)
        (images, labels), reference = self._batches[slice_], self._references[slice_]
        if configurations == [self._float]:
            return sample_metrics(reference[None], reference, labels)
        logits = runner.logits(images, configurations, slice_, self._kept).float()  # (M, B, K)
        return sample_metrics(logits, reference, labels)

    def _slice_reference(self, runner: Runner, slice_: int) -> None:
        if slice_ not in self._references:
            before = runner.work
            logits = runner.logits(self._batches[slice_][0], [self._float], slice_, self._kept)  # (1, B, K)
            check_finite_logits(self._network, logits[0], slice_ * self.size)
            self._references[slice_] = logits[0].float()  # (B, K)
            runner.work = before  # not part of any question

    def _spread(self, slices: Sequence[int], work: Any) -> dict[int, Any]:
        """``work(runner, slice)`` of every slice, runners side by side."""

        def share(r: int) -> dict[int, Any]:
            return {s: work(self._runners[r], s) for s in slices if s % len(self._runners) == r}

        found: dict[int, Any] = {}
        for part in self._map(share, range(len(self._runners))):
            found |= part
        return found

    def _map(self, function: Any, items: Sequence[Any]) -> list[Any]:
        exact = (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            if any(device.type == "cuda" for device in self._devices)
            else contextlib.nullcontext()
        )
        with exact:
            if len(self._runners) == 1:
                return [function(item) for item in items]
            if self._pool is None:
                self._pool = ThreadPoolExecutor(len(self._runners), initializer=torch.set_num_threads, initargs=(1,))
            futures = [self._pool.submit(function, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                wait(futures)  # or the next question would meet a runner that is still at this one
                raise


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
