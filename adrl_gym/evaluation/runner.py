"""Run one slice of images through many configurations of a network."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.evaluation.placed_params import PlacedParams
from adrl_gym.graph import ActivationCache, Live, Subgraph, placed
from adrl_gym.layers import LayerSpec, Quantizable, load_quantized, quantizable

Path = tuple[tuple[int | None, ...], ...]


class Runner(Protocol):
    """One copy of a network on one device, used by one thread at a time."""

    work: int
    """Multiply-accumulates of quantizable layers since it was made."""

    def logits(self, images: Tensor, configurations: Sequence[Bits], slice_: int, kept: ActivationCache) -> Tensor:
        """Logits ``(M, B, K)`` of ``M`` configurations on images ``(B, ...)``, those of slice number ``slice_``."""

    def replica(self) -> "Runner":
        """Another copy, which shares the quantized weights."""


class _Weights:
    """Puts the layers' weights in place."""

    def __init__(self, modules: Sequence[Quantizable], params: Sequence[PlacedParams]) -> None:
        self._modules, self._params = modules, params
        self._bits: list[object] = ["not set"] * len(modules)

    def set(self, layer: int, bits: int | None) -> None:
        if bits != self._bits[layer]:
            params = self._params[layer][bits]
            self._bits[layer] = "being set"  # where an interrupt leaves it
            load_quantized(self._modules[layer], params)  # also where another module shares it
            self._bits[layer] = bits


class ModuleRunner:
    """Whole passes, through the network as it is.

    Args:
        network: in evaluation mode, on its device; its weights change with every configuration.
        layers: its quantizable layers.
        params: of every layer, on that device.
        layout: of images, as the network's weights have it.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        params: Sequence[PlacedParams],
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.work = 0
        self._network, self._layers, self._params, self._layout = network, layers, params, layout
        self._weights = _Weights([quantizable(network, layer) for layer in layers], params)

    def logits(self, images: Tensor, configurations: Sequence[Bits], slice_: int, kept: ActivationCache) -> Tensor:
        """See ``Runner``; nothing is kept."""
        logits = []
        with torch.inference_mode():
            for bits in configurations:
                for layer, b in enumerate(bits):
                    self._weights.set(layer, b)
                # A copy, since a network may write into what it is given.
                logits.append(self._network(placed(images.clone(), self._layout)))  # (B, K)
                self.work += len(images) * sum(layer.macs for layer in self._layers)
            return torch.stack(logits)  # (M, B, K)

    def replica(self) -> "ModuleRunner":
        """See ``Runner``."""
        return ModuleRunner(copy.deepcopy(self._network), self._layers, self._params, self._layout)


@dataclass
class _Question:
    """Configurations on one slice of images.

    Attributes:
        paths: of each configuration, the bits of each subgraph's layers.
        images: in the slice.
        previous: the last path that was run on this slice.
        found: configuration -> its logits ``(B, K)``.
    """

    configurations: Sequence[Bits]
    paths: list[Path]
    slice_: int
    kept: ActivationCache
    images: int
    previous: Path | None
    found: dict[int, Tensor] = field(default_factory=dict)


class SubgraphRunner:
    """Runs each stretch of the network once for all configurations that are alike up to there.

    Args:
        subgraphs: the network, partitioned at its layers; their weights change with every configuration.
        layers: the quantizable layers.
        params: of every layer, as the subgraphs compute with them.
        slices: how many slices the search images have.
    """

    def __init__(
        self, subgraphs: Sequence[Subgraph], layers: Sequence[LayerSpec], params: Sequence[PlacedParams], slices: int
    ) -> None:
        self.work = 0
        self._subgraphs, self._layers, self._params, self._slices = subgraphs, layers, params, slices
        self._macs = [sum(layers[i].macs for i in subgraph.layers) for subgraph in subgraphs]
        modules: dict[int, Quantizable] = {}
        for subgraph in subgraphs:
            modules |= {i: quantizable(subgraph.run, layers[i]) for i in subgraph.layers}
        self._weights = _Weights([modules[i] for i in range(len(layers))], params)
        self._first = next(depth for depth, subgraph in enumerate(subgraphs) if subgraph.layers)
        self._previous: dict[int, Path] = {}  # slice -> last path that was run

    def logits(self, images: Tensor, configurations: Sequence[Bits], slice_: int, kept: ActivationCache) -> Tensor:
        """See ``Runner``. Activations are kept where these configurations part, and where they part from the last."""
        paths = [tuple(tuple(bits[i] for i in s.layers) for s in self._subgraphs) for bits in configurations]
        ask = _Question(configurations, paths, slice_, kept, len(images), self._previous.get(slice_))
        with torch.inference_mode():
            self._descend(ask, 0, (images,), list(range(len(paths))))
        self._previous[slice_] = paths[-1]
        return torch.stack([ask.found[c] for c in range(len(paths))])  # (M, B, K)

    def _descend(self, ask: "_Question", depth: int, live: Live, group: list[int]) -> None:
        """Finish the configurations ``group``, alike before subgraph ``depth``, whose live activations are ``live``."""
        path = ask.paths[group[0]]
        alike = min(_common(path, ask.paths[other]) for other in group)
        depth, live = self._resume(ask, depth, live, path[:alike])
        for index in itertools.chain(*(s.layers for s in self._subgraphs[:depth])):
            self._weights.set(index, ask.configurations[group[0]][index])  # for modules that are used again later
        parts = {alike} if ask.previous is None else {alike, _common(path, ask.previous)}
        for here in range(depth, len(self._subgraphs) + 1):
            if here in parts and here < len(self._subgraphs) and len(group) == len(ask.paths):
                self._keep(ask, path[:here], live)
            if here == alike:
                break
            live = self._step(here, live, path[here], ask.images)
        if alike == len(self._subgraphs):
            ask.found.update((c, live[0]) for c in group)
            return
        members: dict[tuple[int | None, ...], list[int]] = {}
        for c in group:
            members.setdefault(ask.paths[c][alike], []).append(c)
        for same in members.values():
            self._descend(ask, alike, live, same)

    def _resume(self, ask: "_Question", depth: int, live: Live, path: Path) -> tuple[int, Live]:
        """The deepest place on ``path`` whose activations are known."""
        for deeper in range(len(path), max(depth, self._first), -1):
            stored = ask.kept.get((ask.slice_, path[:deeper]))
            if stored is not None:
                return deeper, stored
        return depth, live

    def _keep(self, ask: "_Question", path: Path, live: Live) -> None:
        if len(path) > self._first:  # before the first layer there is nothing to save
            ask.kept.put((ask.slice_, path), live, self._slices)

    def replica(self) -> "SubgraphRunner":
        """See ``Runner``."""
        return SubgraphRunner(copy.deepcopy(self._subgraphs), self._layers, self._params, self._slices)

    def _step(self, depth: int, live: Live, bits: tuple[int | None, ...], images: int) -> Live:
        subgraph = self._subgraphs[depth]
        for index, b in zip(subgraph.layers, bits, strict=True):
            self._weights.set(index, b)
        self.work += self._macs[depth] * images
        after: Live = subgraph.run(*live)
        return after


def _common(path: Sequence[object], other: Sequence[object]) -> int:
    """Return the number of leading entries that are alike."""
    return next((i for i, (a, b) in enumerate(zip(path, other, strict=True)) if a != b), len(path))
