"""Cut a network at its quantizable layers, so that any rest of it can run by itself (torch.fx)."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from adrl_gym.graph.functionalize import TraceError, functionalize
from adrl_gym.graph.memory_format import alike, placed
from adrl_gym.graph.reinplace import reinplace
from adrl_gym.layers import LayerSpec, QuantizedParams, is_plain, load_quantized, quantizable

ParamsByBits = dict[int | None, QuantizedParams]  # bit-width, or None for float, -> what a layer computes with
Live = tuple[Any, ...]  # activations ``(B, ...)``, and sizes, that the rest of the network still needs


class Subgraph(NamedTuple):
    """A stretch of the network that begins with a quantizable layer, and ends before the next one.

    Attributes:
        layers: indices of the layers that are used first here: one, none in what comes before the first
            layer, several where a module of ``torch.nn`` holds them.
        run: live activations at its begin -> those at its end (after the last segment: the logits).
    """

    layers: tuple[int, ...]
    run: fx.GraphModule


def cut(
    network: nn.Module, layers: Sequence[LayerSpec], versions: Sequence[ParamsByBits], images: Tensor
) -> tuple[list[Subgraph], list[ParamsByBits]]:
    """The network as segments, with batch norm folded into the layers before it.

    Weights are quantized first and folded then: channel ``o`` of a layer computes ``s_o (W_o x + b_o - m_o) + t_o``
    with the batch norm's scale ``s``, mean ``m`` and shift ``t``, and so do ``s_o W_o`` and ``s_o (b_o - m_o) + t_o``.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        versions: of every layer.
        images: a few, ``(B, ...)``, on the network's device, to compare the segments with the whole on.

    Returns:
        The segments, and the layers' versions as the segments compute with them.

    Raises:
        TraceError: control flow that depends on the input, or anything else that torch.fx cannot trace, or traces
            to something else.
    """
    traced = _trace(network, layers)
    versions = _fold(traced, layers, versions)
    for layer, table in zip(layers, versions, strict=True):
        load_quantized(quantizable(traced, layer), table[None])
    functionalize(traced)
    _end_views(traced)
    segments = _segments(traced, layers)
    for segment in segments:
        reinplace(segment.run)
    _check_same(segments, network, images, torch.channels_last)
    return segments, versions


def partition_unfolded(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor) -> list[Subgraph]:
    """The network as segments that compute with the layers' own weights: batch norms stay modules.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        images: as for ``cut``.

    Raises:
        TraceError: as ``cut``.
    """
    traced = _trace(network, layers)
    functionalize(traced)
    _end_views(traced)
    segments = _segments(traced, layers)
    _check_same(segments, network, images, torch.contiguous_format)
    return segments


class _Tracer(fx.Tracer):
    """Quantizable layers stay whole, whoever wrote them."""

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        super().__init__()
        self._names = {layer.name for layer in layers}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._names or super().is_leaf_module(m, module_qualified_name)


def _trace(network: nn.Module, layers: Sequence[LayerSpec]) -> fx.GraphModule:
    if any(not layer.name for layer in layers):
        raise TraceError("it is a single layer")
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


def _fold(traced: fx.GraphModule, layers: Sequence[LayerSpec], versions: Sequence[ParamsByBits]) -> list[ParamsByBits]:
    folded = list(versions)
    modules = [quantizable(traced, layer) for layer in layers]
    calls: dict[Any, int] = {}
    for node in traced.graph.nodes:
        calls[node.target] = calls.get(node.target, 0) + 1
    owners: dict[int, int] = {}  # how many modules share a weight
    for module in traced.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for node in list(traced.graph.nodes):
        norm = traced.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_mean is None or len(node.args) != 1:
            continue
        before = node.args[0]
        index = next((i for i, layer in enumerate(layers) if before.target == layer.name), None)
        if before.op != "call_module" or index is None or len(before.users) > 1:
            continue
        if calls[before.target] > 1 or owners[id(modules[index].weight)] > 1 or not is_plain(modules[index]):
            continue
        # (B, O, H, W) or (B, O): only there is the channel that the norm scales the layer's output channel.
        conv, flat = layers[index].kind == "conv", layers[index].macs == layers[index].parameters
        if conv != isinstance(norm, nn.BatchNorm2d) or not (conv or flat):
            continue
        folded[index] = {bits: _folded(version, norm) for bits, version in versions[index].items()}
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    return folded


def _folded(version: QuantizedParams, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> QuantizedParams:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (O,)
    if norm.affine:
        scale = scale * norm.weight.double()  # (O,)
    bias = -norm.running_mean.double() if version.bias is None else version.bias - norm.running_mean.double()  # (O,)
    bias = bias * scale + norm.bias if norm.affine else bias * scale  # (O,)
    weight = version.weight * scale.view(-1, *[1] * (version.weight.dim() - 1))  # (O, ...)
    return QuantizedParams(weight.float(), bias.float())


@torch.inference_mode()
def _check_same(segments: Sequence[Subgraph], network: nn.Module, images: Tensor, layout: torch.memory_format) -> None:
    """Tracing sees the operations of one run on no images, so whether it has seen right is tried out."""
    whole = network(images.clone())  # (B, K)
    live: Live = (placed(images.clone(), layout),)
    try:
        for segment in copy.deepcopy(list(segments)):
            live = segment.run.to(memory_format=layout)(*live)
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


def _segments(traced: fx.GraphModule, layers: Sequence[LayerSpec]) -> list[Subgraph]:
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
    segments, live = [], [node for node in nodes if node.op == "placeholder"]
    for s, (first_used, stretch) in enumerate(stretches):
        before = live
        live = [
            node
            for node in nodes
            if position[node] <= s < last_use[node] and node.op != "get_attr"  # constants are read where needed
        ]
        segments.append(Subgraph(first_used, _graph(traced, stretch, before, live)))
    return segments


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
