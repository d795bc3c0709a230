"""Slices of images on Ray actors: the numbers of ``Engine``, from many processes or machines."""

import itertools
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.cluster import LOCAL, RayConnection, by_value, check_nodes, import_ray, last_line
from adrl_gym.datasets import Images, ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation.engine import Engine, slice_size
from adrl_gym.evaluation.metrics import SampleMetrics
from adrl_gym.evaluation.precision import Precision
from adrl_gym.layers import LayerSpec, QuantizedParams

_CHUNK = 8  # slices of other images that travel together
_AHEAD = 2  # chunks that wait for each worker

Params = Mapping[tuple[int, Any], Any]  # layer, bits -> reference to quantized weights


def parse_workers(workers: str | int) -> tuple[str, int | None]:
    """Return the address of the cluster and the number of workers; ``None`` is one for each CPU of the cluster.

    >>> parse_workers("4"), parse_workers("ray:auto")
    (('local', 4), ('auto', None))

    Raises:
        AdrlGymError: neither a number nor an address.
    """
    text = str(workers)
    if text.startswith("ray:") and not text.startswith("ray://"):
        return text.removeprefix("ray:"), None
    if not text.isdigit() or int(text) < 1:
        raise AdrlGymError(
            f"workers must be a number from 1 or ray:ADDRESS, got {text}: give for example 2, or ray:auto",
            parameter="workers",
        )
    return LOCAL, int(text)


class RayEngine:
    """``Evaluator`` whose slices run on Ray actors, each of which holds the network and its share of the images.

    Slice s always runs on actor s modulo their number. Each slice is computed as ``Engine`` computes it on one thread,
    so metrics and the count of passes are those of one process, bit for bit on processors of one kind. Quantized
    weights are made in this process, and each of them is sent once. An actor that dies is started again, elsewhere if
    need be, and what it was asked is asked again.

    Args:
        network: in evaluation mode, on the CPU.
        layers: its quantizable layers.
        params: of every layer, bit-width -> quantized weights; looked up when they are first needed.
        search: the search images.
        workers: see ``parse_workers``.
        devices: the CPU, which is what actors run on.
        precision: ``float32``, which is what actors compute in.
        activation_memory: bytes of kept activations over all actors.

    Attributes:
        size: images in a slice; the last one may be smaller.

    Raises:
        AdrlGymError: Ray is not installed, no cluster, workers with another program, GPUs or a lower precision.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        params: Sequence[Mapping[int, QuantizedParams]],
        search: ImageSet,
        workers: str | int,
        devices: Sequence[torch.device] = (torch.device("cpu"),),
        *,
        precision: Precision = "float32",
        activation_memory: int = 0,
    ) -> None:
        self._network, self._layers, self._params, self._search = network, layers, params, search
        if precision != "float32":
            raise AdrlGymError(
                f"workers compute in float32, got the precision {precision}: leave one of the two out",
                parameter=("workers", "profile_precision"),
            )
        if any(device.type != "cpu" for device in devices):
            raise AdrlGymError(
                f"workers run on CPUs, got the device {devices[0]}: give device cpu, or leave workers out",
                parameter=("workers", "device"),
            )
        self._memory = activation_memory
        self.size = min(slice_size(layers), len(search))
        self.slices = -(-len(search) // self.size)
        self._address, self._count = parse_workers(workers)
        self._one_pass = len(search) * sum(layer.macs for layer in layers)
        self._work = 0
        self._sent: dict[tuple[int, Any], Any] = {}
        self._connection: RayConnection | None = None
        self._actors: list[Any] = []
        self._held: list[Any] = []  # references that an actor needs when it is started again

    @property
    def passes(self) -> float:
        """Work done on search images, in passes of all of them through the whole network."""
        return self._work / self._one_pass

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int]) -> list[list[SampleMetrics]]:
        """See ``Evaluator``."""
        if not configurations or not slices:
            return [[] for _ in configurations]
        by_slice = self._spread("measure", configurations, slices)
        return [[by_slice[s][c] for s in slices] for c in range(len(configurations))]

    def search_logits(self, configurations: Sequence[Bits]) -> Tensor:
        """Logits ``(M, N, K)`` of configurations on all search images; on the CPU."""
        by_slice = self._spread("search_logits", configurations, range(self.slices))
        return torch.cat([by_slice[s] for s in range(self.slices)], dim=1)  # (M, N, K)

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """See ``Evaluator``; the images travel to the actors."""
        actors, params = self._start(), self._references([bits])
        found: list[Any] = []
        waiting: list[Any] = []
        for actor, (batch, _) in zip(itertools.cycle(actors), images.batches(_CHUNK * self.size), strict=False):
            found.append(actor.logits.remote(batch, bits, params))
            waiting.append(found[-1])
            if len(waiting) >= _AHEAD * len(actors):
                self._get([waiting.pop(0)])
        return torch.cat(self._get(found))  # (N, K)

    def forget(self) -> None:
        """Let go of the kept activations."""
        self._get([actor.forget.remote() for actor in self._actors])

    def close(self) -> None:
        """End the actors; a later question starts new ones."""
        if self._connection is not None:
            for actor in self._actors:
                self._connection.ray.kill(actor)
            self._connection.close()
        self._actors, self._held, self._sent, self._connection = [], [], {}, None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None, "_actors": [], "_held": [], "_sent": {}}

    def _start(self) -> list[Any]:
        if self._connection is None:
            self._connection = connection = RayConnection(self._address, self._count)
            try:
                check_nodes(connection.ray)
                self._actors = list(self._made(connection.ray))
            except BaseException:
                self.close()
                raise
        return self._actors

    def _made(self, ray: Any) -> Iterator[Any]:
        count = self._count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        count = min(count, self.slices)
        kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Worker)
        network = ray.put(by_value(ray, self._network))
        batches = list(self._search.batches(self.size))
        for own in (batches[index::count] for index in range(count)):
            images = torch.cat([images for images, _ in own])  # (n, C, H, W)
            labels = None if own[0][1] is None else torch.cat([label for _, label in own if label is not None])
            memory = self._memory * len(own) // self.slices
            share = ray.put((images, labels))
            self._held += [network, share]
            yield kind.remote(network, self._layers, share, memory)

    def _spread(self, method: str, configurations: Sequence[Bits], slices: Sequence[int]) -> dict[int, Any]:
        """``method`` of every slice, actors side by side."""
        actors, params = self._start(), self._references(configurations)
        shares = [[s for s in slices if s % len(actors) == index] for index in range(len(actors))]
        asked = [
            getattr(actor, method).remote(list(configurations), [s // len(actors) for s in own], params)
            for actor, own in zip(actors, shares, strict=True)
            if own
        ]
        found: dict[int, Any] = {}
        for own, (answers, work) in zip(filter(None, shares), self._get(asked), strict=True):
            found |= dict(zip(own, answers, strict=True))
            self._work += work
        return found

    def _references(self, configurations: Sequence[Bits]) -> Params:
        """Return references to the weights that configurations need; each is sent to the cluster once."""
        assert self._connection is not None
        keys = {(layer, b) for bits in configurations for layer, b in enumerate(bits) if b is not None}
        for layer, b in keys - self._sent.keys():
            self._sent[layer, b] = self._connection.ray.put(self._params[layer][b])
        return {key: self._sent[key] for key in keys}

    def _get(self, asked: list[Any]) -> list[Any]:
        if self._connection is None:
            return []
        ray = self._connection.ray
        try:
            return ray.get(asked)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, AdrlGymError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError as error:
            raise AdrlGymError(
                f"a worker died and could not be started again ({last_line(error)}): "
                "give fewer workers, or more memory",
                parameter="workers",
            ) from error


class Worker:
    """One process of ``RayEngine``: an ``Engine`` of one thread on a share of the slices.

    Args:
        network: pickled by value.
        layers: its quantizable layers.
        share: images ``(n, C, H, W)`` and labels ``(n,)``, whole slices in order.
        activation_memory: as of ``Engine``.
    """

    def __init__(
        self,
        network: bytes,
        layers: Sequence[LayerSpec],
        share: tuple[Tensor, Tensor | None],
        activation_memory: int,
    ) -> None:
        torch.set_num_threads(1)
        self._params: list[dict[Any, QuantizedParams]] = [{} for _ in layers]
        search = ImageSet(*share)
        self._one_pass = len(search) * sum(layer.macs for layer in layers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told by the process that asks
            self._engine = Engine(
                pickle.loads(network),
                layers,
                self._params,
                search,
                [torch.device("cpu")],
                activation_memory=activation_memory,
            )

    def measure(self, configurations: Sequence[Bits], slices: Sequence[int], params: Params) -> tuple[list[Any], int]:
        """Return the metrics by slice and configuration, and the work in multiply-accumulates."""
        self._take(params)
        before = self._work
        found = self._engine.measure(configurations, slices)
        return list(zip(*found, strict=True)), self._work - before

    def search_logits(
        self, configurations: Sequence[Bits], slices: Sequence[int], params: Params
    ) -> tuple[list[Tensor], int]:
        """Return the logits ``(M, B, K)`` of each slice, all of this share, and the work."""
        self._take(params)
        before = self._work
        whole = self._engine.search_logits(configurations)  # (M, n, K)
        return list(whole.split(self._engine.size, dim=1)), self._work - before

    def logits(self, images: Tensor, bits: Bits, params: Params) -> Tensor:
        """Return the logits ``(n, K)`` of other images ``(n, C, H, W)``."""
        self._take(params)
        return self._engine.logits(ImageSet(images, None), bits)

    def forget(self) -> None:
        """Let go of the kept activations."""
        self._engine.forget()

    @property
    def _work(self) -> int:
        return round(self._engine.passes * self._one_pass)

    def _take(self, params: Params) -> None:
        ray = import_ray()
        for (layer, bits), reference in params.items():
            if bits not in self._params[layer]:
                self._params[layer][bits] = cast(QuantizedParams, ray.get(reference))
