"""The tensors of a network that are put on grids, so that runtimes compute between them in integers.

A runtime fuses an operator with the grids of its inputs and of its output. So the input of each quantized layer is on
a grid, and the output of each convolution after its activation, of each sum, concatenation and pooling between layers.
The output of a last linear layer stays float: runtimes compute it from integers as well.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from adrl_gym.quantization.integer.program import ProgramState, aten, source

CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}
LAYERS = {*CONVOLUTIONS, aten.linear.default}
_CLAMPS = {aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default, aten.clamp_min.default}
_COMBINING = {
    aten.add.Tensor,
    aten.mul.Tensor,
    aten.cat.default,
    aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default,
    aten.mean.dim,
}
_MOVING = {  # their values are among those of their input, so they are on its grid
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.slice.Tensor,
    aten.dropout.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.pad.default,  # with zeros, which every grid has
}


@dataclass(frozen=True)
class Placement:
    """Tensors to put on grids.

    Attributes:
        layers: layer's name -> its calls in the graph.
        groups: tensors that share a grid.
    """

    layers: dict[str, list[fx.Node]]
    groups: list[list[fx.Node]]


def place(state: ProgramState, weights: dict[str, str]) -> Placement:
    """Choose the tensors.

    Args:
        state: of a program without batch norms after its layers.
        weights: name of the weight -> name of the layer, for those that are quantized.
    """
    graph = state.program.graph
    layers: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        name = state.name(source(node, 1)) if node.target in LAYERS else None
        if name in weights and state.name(source(node)) is None:  # it does not compute with constants alone
            layers.setdefault(weights[name], []).append(node)
    calls = {node for nodes in layers.values() for node in nodes}
    path = _integer_path(graph, calls, state)
    wanted = _wanted(graph, calls, path)
    groups = _Groups()
    for node in graph.nodes:
        if node in wanted:
            groups.join(node, node)
            if node.target in _MOVING:
                groups.join(node, source(node))
    for nodes in layers.values():
        for node in nodes:
            groups.join(source(node), source(nodes[0]))
    return Placement(layers, groups.lists())


def _integer_path(graph: fx.Graph, calls: set[fx.Node], state: ProgramState) -> set[fx.Node]:
    """Return the tensors that a runtime can have in integers."""
    path: set[fx.Node] = set()
    for node in graph.nodes:
        if (node.op == "placeholder" and state.name(node) is None) or node in calls:
            path.add(node)
        elif node.target in _CLAMPS | _COMBINING | _MOVING and not _pads_otherwise(node):
            inputs = [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), torch.Tensor)]
            if inputs and all(n in path for n in inputs):
                path.add(node)
    return path


def _pads_otherwise(node: fx.Node) -> bool:
    """Return whether an operator pads with other values than zeros."""
    return node.target is aten.pad.default and (*node.args[2:], *node.kwargs.values()) not in ((), ("constant",))


def _activation(node: fx.Node) -> fx.Node | None:
    """Return the activation that alone reads what an operator computes: it becomes part of the output's grid."""
    users = list(node.users)
    computes = node.target in LAYERS | _COMBINING
    return users[0] if computes and len(users) == 1 and users[0].target in _CLAMPS else None


def _wanted(graph: fx.Graph, calls: set[fx.Node], path: set[fx.Node]) -> set[fx.Node]:
    """Return the tensors to put on grids, found from the output backwards."""
    wanted: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        clamp = _activation(node)
        if node in calls:
            wanted.add(source(node))
            if node.target in CONVOLUTIONS:
                wanted.add(clamp or node)
        elif node in path and node.target in _COMBINING and (clamp or node) in wanted:
            wanted.update(n for n in node.all_input_nodes if n in path)
        elif node in wanted and (
            node.target in _MOVING or (node.target in _CLAMPS and _activation(source(node)) is None)
        ):
            wanted.add(source(node))
    return wanted


def upper_bound(node: fx.Node) -> float:
    """Return the value that an activation clamps to from above; infinite for other operators."""
    if node.target is aten.relu6.default:
        return 6.0
    if node.target in (aten.hardtanh.default, aten.clamp.default):
        default = 1.0 if node.target is aten.hardtanh.default else None
        bound: Any = node.args[2] if len(node.args) > 2 else node.kwargs.get("max", node.kwargs.get("max_val", default))
        return math.inf if bound is None else float(bound)
    return math.inf


class _Groups:
    """Sets of nodes that grow together."""

    def __init__(self) -> None:
        self._of: dict[fx.Node, list[fx.Node]] = {}

    def join(self, one: fx.Node, other: fx.Node) -> None:
        first, second = self._of.setdefault(one, [one]), self._of.setdefault(other, [other])
        if first is not second:
            first.extend(second)
            self._of.update(dict.fromkeys(second, first))

    def lists(self) -> list[list[fx.Node]]:
        return list({id(group): group for group in self._of.values()}.values())
