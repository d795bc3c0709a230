"""A quantized network that computes in integers, in PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from adrl_gym.activations import ActivationHistogram, choose_grid
from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import batches
from adrl_gym.layers import ActivationGrid
from adrl_gym.quantization.codes import CodedWeight
from adrl_gym.quantization.integer.operator import ON_GRID
from adrl_gym.quantization.integer.placement import CONVOLUTIONS, Placement, place, upper_bound
from adrl_gym.quantization.integer.program import ProgramState, aten, source, trace
from adrl_gym.quantization.integer.weights import IntegerLayer, Norm, integer_layer

_BATCH = 50  # images a forward pass


@dataclass(frozen=True)
class IntegerNetwork:
    """A network whose quantized layers, and what lies between them, compute with integers.

    Attributes:
        program: its graph, with ``adrl_gym.on_grid`` at every tensor on a grid; it becomes the ONNX file.
        layers: name of the weight -> its integers.
        names: name of the weight -> its name in the program, which is another one where modules share it.
        float_layers: quantized layers that compute in float, for example embeddings.
    """

    program: ExportedProgram
    layers: dict[str, IntegerLayer]
    names: dict[str, str]
    float_layers: tuple[str, ...]

    def module(self) -> nn.Module:
        """Return the module that computes the same in PyTorch, for images ``(N, C, H, W)`` on the CPU."""
        return self.program.module()


def integer_network(
    network: nn.Module,
    weights: Mapping[str, CodedWeight],
    names: Mapping[str, str],
    images: Tensor,
    grids: Mapping[str, ActivationGrid],
) -> IntegerNetwork:
    """Let a network compute in integers.

    Args:
        network: on the CPU, in evaluation mode, with the quantized weights; left as it is.
        weights: name of the weight -> its integers.
        names: any name of such a weight -> name of its layer.
        images: unlabelled, float32 ``(N, C, H, W)``, at least one, to calibrate the other grids on.
        grids: layer -> grid of its input; other tensors, and layers without one, get one from the images.

    Raises:
        AdrlGymError: no images, a network that ``torch.export`` cannot trace, or values that are not finite.
    """
    if len(images) == 0:
        raise AdrlGymError("no images to calibrate activations on: give at least one")
    state = ProgramState(trace(network, images))
    norms = _fold_norms(state, set(names))
    placement = place(state, dict(names))
    chosen = _grids(state, placement, images, grids)
    layers: dict[str, IntegerLayer] = {}
    stored: dict[str, str] = {}
    by_layer = {names[weight]: weight for weight in weights}
    for layer, calls in placement.layers.items():
        weight, call = by_layer[layer], calls[0]
        biases = {str(state.name(bias)): bias for bias in map(_bias, calls) if bias is not None}
        floats = {name: state[bias] for name, bias in biases.items()}  # (O,) each
        own = integer_layer(weights[weight], floats, norms.get(call), chosen[source(call)].scale)
        state.put(source(call, 1), own.float_weight)
        layers[weight], stored[weight] = own, str(state.name(source(call, 1)))
        for name, value in own.float_biases.items():
            state.put(biases[name], value)
    _put_grids(state.program, chosen)
    left = tuple(layer for layer in by_layer if layer not in placement.layers)
    return IntegerNetwork(state.program, layers, stored, left)


def _bias(call: fx.Node) -> fx.Node | None:
    return source(call, 2) if len(call.args) > 2 else None


def _fold_norms(state: ProgramState, weights: set[str]) -> dict[fx.Node, Norm]:
    """Fold the batch norm after each quantized convolution into its weight and bias, in float.

    A convolution without a bias takes the norm's, or the place of its mean.

    Returns:
        The convolution's call -> the scale that its weight got; the shift is its bias now.
    """
    graph, taken = state.program.graph, {}
    for node in list(graph.nodes):
        if node.target is not aten.batch_norm.default:
            continue
        arguments: list[Any] = [*node.args]
        call, *parts, training, _, eps, _ = arguments
        if call.target not in CONVOLUTIONS or len(call.users) > 1 or training or parts[2] is None:
            continue
        bias = _bias(call)
        if state.name(source(call, 1)) not in weights or any(
            part is not None and len(part.users) > 1 for part in (source(call, 1), bias, *parts)
        ):
            continue
        scale, shift = (None if part is None else state[part] for part in parts[:2])  # (O,) each
        norm = Norm.of(scale, shift, state[parts[2]], state[parts[3]], eps)
        place = next(part for part in (bias, parts[1], parts[2]) if part is not None)
        if bias is not None:
            norm = Norm(norm.scale, norm.shift + norm.scale * state[bias].double())
        weight = state[source(call, 1)]  # (O, ...)
        state.put(source(call, 1), (weight * norm.scale.view(-1, *[1] * (weight.dim() - 1))).float())
        state.put(place, norm.shift.float())
        call.args = (*call.args[:2], place, *call.args[3:])
        taken[call] = norm
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    return taken


def _grids(
    state: ProgramState, placement: Placement, images: Tensor, grids: Mapping[str, ActivationGrid]
) -> dict[fx.Node, ActivationGrid]:
    """Return the grid of each tensor: a given one of 8 bits, or one that is chosen from the images."""
    chosen: dict[fx.Node, ActivationGrid] = {}
    given = {
        source(call): grids[layer]
        for layer, calls in placement.layers.items()
        for call in calls
        if layer in grids and grids[layer].bits == 8
    }
    left = []
    for group in placement.groups:
        known = next((given[node] for node in group if node in given), None)
        if known is None:
            left.append(group)
        else:
            chosen.update(dict.fromkeys(group, _within_bounds(group, known)))
    for group, histogram in zip(left, _histograms(state, left, images), strict=True):
        chosen.update(dict.fromkeys(group, _within_bounds(group, _choose(group, histogram))))
    return chosen


def _within_bounds(group: Sequence[fx.Node], grid: ActivationGrid) -> ActivationGrid:
    """Return a grid that does not go beyond what an activation clamps to, so that it clamps as well.

    A grid of least error may end a little above the largest value.
    """
    bound = min(map(upper_bound, group))
    steps = 255 - grid.zero_point
    return replace(grid, scale=bound / steps) if steps and grid.scale * steps > bound else grid


def _choose(group: Sequence[fx.Node], histogram: ActivationHistogram) -> ActivationGrid:
    if not histogram.finite:
        raise AdrlGymError(f"the output of {group[0].name} holds NaN or infinity; check the weights and the images")
    if histogram.lowest == histogram.highest == 0:
        return ActivationGrid(8, 1.0, 0)  # a dead branch
    return choose_grid(histogram, 8, "mse")


@torch.no_grad()
def _histograms(state: ProgramState, groups: Sequence[list[fx.Node]], images: Tensor) -> list[ActivationHistogram]:
    """Return the values of each group's tensors on the images, in the network before any grid."""
    histograms = [ActivationHistogram() for _ in groups]
    seen = {node: histogram for group, histogram in zip(groups, histograms, strict=True) for node in group}

    class Look(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            if node in seen:
                seen[node].add(value)
            return value

    if groups:
        look = Look(state.program.graph_module)
        for batch in batches(images, _BATCH):
            look.run(*state.inputs(batch))
    return histograms


def _put_grids(program: ExportedProgram, grids: Mapping[fx.Node, ActivationGrid]) -> None:
    for node, grid in grids.items():
        readers = list(node.users)
        with program.graph.inserting_after(node):
            put = program.graph.call_function(ON_GRID, (node, grid.scale, grid.zero_point))
        put.meta = dict(node.meta)
        for user in readers:
            user.replace_input_with(node, put)
    program.graph.lint()
    program.graph_module.recompile()
