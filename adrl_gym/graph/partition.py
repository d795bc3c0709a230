"""Partition a network at its quantizable layers, so that any rest of it can run by itself (torch.fx)."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from adrl_gym.graph.fold_bn import BatchNorm, fold_batch_norm, remove_batch_norms
from adrl_gym.graph.functionalize import TraceError, functionalize
from adrl_gym.graph.memory_format import alike, placed, to_layout
from adrl_gym.graph.reinplace import reinplace
from adrl_gym.layers import (
    LayerSpec,
    LinearAttention,
    WindowAttention,
    float_inputs,
    load_quantized,
    own_params,
    quantizable,
)

Live = tuple[Any, ...]  # activations ``(B, ...)``, and sizes, that the rest of the network still needs


class Subgraph(NamedTuple):
    """A part of the network that begins with a quantizable layer and ends before the next one.

    Attributes:
        layers: indices of the layers that are used first here: one, none in what comes before the first
            layer, several where a module of ``torch.nn`` holds them.
        run: live activations at its begin -> those at its end (after the last subgraph: the logits).
    """

    layers: tuple[int, ...]
    run: fx.GraphModule


class Partition(NamedTuple):
    """A network as subgraphs without the batch norms that fold into the layers before them.

    Attributes:
        subgraphs: in the order in which they run.
        norms: of each layer, the batch norm to fold into its weights (``fold_batch_norm``), or ``None``.
    """

    subgraphs: list[Subgraph]
    norms: list[BatchNorm | None]


def partition_network(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor) -> Partition:
    """Partition a network at its quantizable layers, whose inputs are float in the subgraphs.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        images: a few, ``(B, ...)``, on the network's device, to compare the subgraphs with the whole on.

    Raises:
        TraceError: control flow that depends on the input, or anything else that torch.fx cannot trace, or traces
            to something else.
    """
    traced = _trace(network, layers)
    norms = remove_batch_norms(traced, layers)
    for layer, norm in zip(layers, norms, strict=True):
        module = quantizable(traced, layer)
        load_quantized(module, fold_batch_norm(own_params(module), norm))
    functionalize(traced)
    _end_views(traced)
    subgraphs = _subgraphs(traced, layers)
    for subgraph in subgraphs:
        reinplace(subgraph.run)
    _check_same(subgraphs, network, images, torch.channels_last)
    return Partition(subgraphs, norms)


def partition_unfolded(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor) -> list[Subgraph]:
    """Partition a network whose layers keep their own weights: batch norms stay modules.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        images: as for ``partition_network``.

    Raises:
        TraceError: see ``partition_network``.
    """
    traced = _trace(network, layers)
    functionalize(traced)
    _end_views(traced)
    subgraphs = _subgraphs(traced, layers)
    _check_same(subgraphs, network, images, torch.contiguous_format)
    return subgraphs


class _Tracer(fx.Tracer):
    """Quantizable layers stay whole, whoever wrote them."""

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        super().__init__()
        self._names = {layer.name for layer in layers}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = module_qualified_name in self._names or isinstance(
            m, LinearAttention | WindowAttention
        )  # it asks for shapes
        return whole or super().is_leaf_module(m, module_qualified_name)


def _trace(network: nn.Module, layers: Sequence[LayerSpec]) -> fx.GraphModule:
    if any(not layer.name for layer in layers):
        raise TraceError("it is a single layer")
    with float_inputs(network):
        network = copy.deepcopy(network)
    kind = type(network)

    def forward(self: nn.Module, x: Tensor) -> Tensor:  # of the images alone: other arguments have their defaults
        return kind.forward(self, x)

    network.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    try:
        traced = fx.GraphModule(network, _Tracer(layers).trace(network))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise TraceError(" ".join(str(error).split())) from error
    output = next(node for node in traced.graph.nodes if node.op == "output")
    if not isinstance(output.args[0], fx.Node):
        raise TraceError("it gives more than the logits")
    return traced


@torch.inference_mode()
def _check_same(subgraphs: Sequence[Subgraph], network: nn.Module, images: Tensor, layout: torch.memory_format) -> None:
    """Tracing sees the operations of one run on no images, so whether it has seen right is tried out."""
    with float_inputs(network):
        whole = network(images.clone())  # (B, K)
    live: Live = (placed(images.clone(), layout),)
    try:
        for subgraph in copy.deepcopy(list(subgraphs)):
            live = to_layout(subgraph.run, layout)(*live)
    except Exception as error:  # the network's own code, which may raise anything
        raise TraceError(" ".join(str(error).split())) from error
    if not alike(live[0], whole):
        raise TraceError("its parts, run one after the other, give other logits than the whole")


def _end_views(traced: fx.GraphModule) -> None:
    """``view`` fails where an activation is channels last; where nothing writes in place, ``reshape`` is the same."""
    for node in traced.graph.nodes:
        shape = node.args[1:]  # or a type, to which there is no twin
        if node.op == "call_method" and node.target == "view" and shape and not isinstance(shape[0], torch.dtype):
            node.target = "reshape"
    traced.recompile()


def _subgraphs(traced: fx.GraphModule, layers: Sequence[LayerSpec]) -> list[Subgraph]:
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    used: set[int] = set()
    stretches: list[tuple[tuple[int, ...], list[fx.Node]]] = [((), [])]
    for node in nodes:
        first = _layers_of(node, layers) - used
        if first:
            used |= first
            stretches.append((tuple(sorted(first)), []))
        stretches[-1][1].append(node)
    if len(used) < len(layers):
        missing = next(layer.name for i, layer in enumerate(layers) if i not in used)
        raise TraceError(f"{missing} is not used as a module")
    position = {node: s for s, (_, stretch) in enumerate(stretches) for node in stretch}
    last_use = {node: max((position.get(user, len(stretches)) for user in node.users), default=-1) for node in nodes}
    subgraphs, live = [], [node for node in nodes if node.op == "placeholder"]
    for s, (first_used, stretch) in enumerate(stretches):
        before = live
        live = [
            node
            for node in nodes
            if position[node] <= s < last_use[node] and node.op != "get_attr"  # constants are read where needed
        ]
        subgraphs.append(Subgraph(first_used, _graph(traced, stretch, before, live)))
    return subgraphs


def _layers_of(node: fx.Node, layers: Sequence[LayerSpec]) -> set[int]:
    if node.op != "call_module":
        return set()
    name = str(node.target)
    return {i for i, layer in enumerate(layers) if layer.name == name or layer.name.startswith(f"{name}.")}


def _graph(
    traced: fx.GraphModule, stretch: Sequence[fx.Node], before: Sequence[fx.Node], after: Sequence[fx.Node]
) -> fx.GraphModule:
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in before}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    for node in stretch:
        copied(node)
    graph.output(tuple(copied(node) for node in after))
    return fx.GraphModule(traced, graph)
