"""Integer layers in an ONNX graph, in the form that onnxruntime fuses into operators on integers.

A tensor on a grid is ``QuantizeLinear`` and ``DequantizeLinear`` to uint8, a weight ``DequantizeLinear`` of int8, a
bias ``DequantizeLinear`` of int32. Weights of fewer bits are INT4 or INT2 in the file and become int8 by operators on
constants, which are computed when the file is loaded. ``DequantizeLinear`` of INT4 would not be fused.
"""

import copy
import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from adrl_gym.export.extras import import_extra
from adrl_gym.export.onnx_trace import Operators
from adrl_gym.export.onnx_weights import INTEGERS, Opset, stored_bits
from adrl_gym.export.packing.bitpack import pack
from adrl_gym.quantization import ON_GRID, IntegerLayer

_GRIDS = ("QuantizeLinear", "DequantizeLinear")


def grid_operators() -> Operators:
    """Return the ONNX nodes of ``adrl_gym.on_grid``, for PyTorch's exporter."""
    op = import_extra("onnxscript").opset21

    def on_grid(x: Any, scale: float, zero_point: int) -> Any:
        step = op.Constant(value_float=scale)
        zero = op.Cast(op.Constant(value_int=zero_point), to=import_extra("onnx").TensorProto.UINT8)
        return op.DequantizeLinear(op.QuantizeLinear(x, step, zero), step, zero)

    return {ON_GRID: on_grid}


def without_grids(model: Any, values: dict[str, Tensor]) -> Any:
    """Return a copy of a model in float: no tensor is on a grid, and inputs with ``values`` are constants."""
    onnx = import_extra("onnx")
    model = copy.deepcopy(model)
    graph = model.graph
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type in _GRIDS:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
        else:
            node.input[:] = [source.get(name, name) for name in node.input]
            kept.append(node)
    _replace(graph.node, kept)
    _replace(graph.input, [entry for entry in graph.input if entry.name not in values])
    graph.initializer.extend(onnx.numpy_helper.from_array(value.numpy(), name) for name, value in values.items())
    return model


def absorb_activations(graph: Any) -> None:
    """Remove each ReLU and clamp that its output's grid computes as well: values beyond the grid saturate."""
    constants = _constants(graph)
    producer = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for node in list(graph.node):
        before = producer.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if before is None or before.op_type not in ("Relu", "Clip") or readers[node.input[0]] > 1:
            continue
        scale, zero_point = float(constants[node.input[1]]), int(constants[node.input[2]])
        bounds = [float(constants[name]) if name else math.nan for name in before.input[1:]] or [0.0]
        lowest, highest = (*bounds, math.nan)[:2]
        below = math.isnan(lowest) or round(lowest / scale) + zero_point <= 0
        above = math.isnan(highest) or round(highest / scale) + zero_point >= 255
        if below and above:
            node.input[0] = before.input[0]
            graph.node.remove(before)


def pool_globally(graph: Any) -> None:
    """Turn means over all pixels into ``GlobalAveragePool``, which onnxruntime has for integers as well."""
    helper = import_extra("onnx").helper
    constants, readers = _constants(graph), {name: node for node in graph.node for name in node.input}
    for node in list(graph.node):
        grid = readers.get(node.output[0])
        if node.op_type != "ReduceMean" or grid is None or grid.op_type != "QuantizeLinear":
            continue
        if sorted(constants[node.input[1]].tolist()) not in ([-2, -1], [2, 3]):
            continue
        keeps = next((attribute.i for attribute in node.attribute if attribute.name == "keepdims"), 1)
        node.op_type = "GlobalAveragePool"
        del node.input[1:]
        del node.attribute[:]
        if not keeps:
            flat = node.output[0]
            names = [f"{flat}_pooled", f"{flat}_integers", f"{flat}_grid"]
            node.output[0] = names[0]
            added = [
                helper.make_node(kind, [start, *grid.input[1:]], [end])
                for kind, start, end in zip(_GRIDS, names, names[1:], strict=False)
            ]
            place = list(graph.node).index(node)
            for new in (helper.make_node("Flatten", [names[2]], [flat]), *reversed(added)):
                graph.node.insert(place + 1, new)


def absorb_pads(graph: Any) -> None:
    """Let convolutions pad what paddings with zeros before them do, on the same grid: onnxruntime does not fuse them.

    A padding of integers costs two transpositions, since onnxruntime's convolutions have their channels last.
    """
    constants = _constants(graph)
    producer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        chain = [node]
        while len(chain) < 5 and chain[-1].input[0] in producer:
            chain.append(producer[chain[-1].input[0]])
        if [part.op_type for part in chain] != ["Conv", _GRIDS[1], _GRIDS[0], "Pad", _GRIDS[1]]:
            continue
        _, after, _, padding, before = chain
        if len(padding.input) > 3 or list(before.input[1:]) != after.input[1:]:
            continue  # of some axes, or between two grids
        starts, ends = constants[padding.input[1]].reshape(2, -1).tolist()
        if min(*starts, *ends) < 0 or any([*starts[:2], *ends[:2]]):
            continue  # cut off, or of images or channels
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "auto_pad" in attributes and attributes["auto_pad"].s != b"NOTSET":
            continue
        own = attributes.get("pads")
        added = [*starts[2:], *ends[2:]]
        if own is not None:
            added = [sum(both) for both in zip(added, own.ints, strict=True)]
            node.attribute.remove(own)
        node.attribute.append(import_extra("onnx").helper.make_attribute("pads", added))
        node.input[0] = before.output[0]


def pad_integers(graph: Any) -> None:
    """Let paddings between grids pad the integers with their zero point: onnxruntime does not fuse them itself."""
    producer = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(graph.node):
        before, after = producer.get(node.input[0]), readers.get(node.output[0], [])
        if node.op_type != "Pad" or before is None or before.op_type != "DequantizeLinear" or len(node.input) > 3:
            continue
        if len(after) != 1 or after[0].op_type != "QuantizeLinear" or list(after[0].input[1:]) != before.input[1:]:
            continue
        node.input[:] = [before.input[0], node.input[1], before.input[2]]
        node.output[0] = after[0].output[0]
        graph.node.remove(after[0])


def drop_unused(graph: Any) -> None:
    """Remove nodes and constants that nothing reads; onnxruntime would compute such nodes."""
    read = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(node.input)
            kept.append(node)
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, [constant for constant in graph.initializer if constant.name in read])


def put_layers(graph: Any, taken: dict[str, str], layers: dict[str, IntegerLayer], opset: Opset) -> None:
    """Compute the inputs that ``take_weights`` made of weights and biases from integers.

    Args:
        graph: of a model.
        taken: weight or bias -> its name in the graph.
        layers: weight -> its integers.
        opset: of the model.
    """
    _replace(graph.input, [entry for entry in graph.input if entry.name not in taken.values()])
    nodes: list[Any] = []
    for index, (weight, layer) in enumerate(layers.items()):
        nodes += _weight_nodes(graph, f"_{index}", weight, taken[weight], layer, opset)
        if layer.biases:
            nodes += _bias_nodes(graph, f"_{index}", weight, taken, layer)
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _weight_nodes(graph: Any, key: str, weight: str, name: str, layer: IntegerLayer, opset: Opset) -> list[Any]:
    """Return nodes from the stored integers to the weight; a matrix is stored as the operator takes it."""
    onnx = import_extra("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    signs = layer.signs.view(-1, *[1] * (layer.integers.dim() - 1))  # (O, 1, ...)
    integers, axis = (layer.integers * signs), 0  # int8 (O, ...)
    width = stored_bits(layer.bits, opset)
    nodes, factor, level = [], None, f"_levels{key}"
    if layer.bits == width == 2:  # -3, -1, 1 and 3 are twice -2, -1, 0 and 1, and one more
        integers, factor = (integers - 1) // 2, torch.tensor(2)
    elif int(integers.max()) >= 2 ** (width - 1):  # 4 bits: with the other sign, -8 would be 8
        integers, factor = layer.integers, signs
    transposed = _take_transposed(graph, name)
    if transposed:
        integers, axis, name = integers.T.contiguous(), 1, transposed
        factor = factor if factor is None or factor.dim() == 0 else factor.T
    raw = pack((integers.flatten() & (2**width - 1)).view(torch.uint8), width).numpy().tobytes()
    kind = getattr(kinds, f"INT{width}")
    graph.initializer.append(helper.make_tensor(weight + INTEGERS, kind, integers.shape, raw, raw=True))
    if width == 8:
        level = weight + INTEGERS
    elif factor is None:
        nodes.append(helper.make_node("Cast", [weight + INTEGERS], [level], to=kinds.INT8))
    else:
        # onnxruntime multiplies int32, not int8.
        nodes.append(helper.make_node("Cast", [weight + INTEGERS], [f"{level}_wide"], to=kinds.INT32))
        graph.initializer.append(onnx.numpy_helper.from_array(factor.int().numpy(), f"_factor{key}"))
        nodes.append(helper.make_node("Mul", [f"{level}_wide", f"_factor{key}"], [f"{level}_scaled"]))
        last = f"{level}_scaled"
        if layer.bits == 2:
            graph.initializer.append(helper.make_tensor(f"_one{key}", kinds.INT32, (), [1]))
            nodes.append(helper.make_node("Add", [last, f"_one{key}"], [f"{level}_odd"]))
            last = f"{level}_odd"
        nodes.append(helper.make_node("Cast", [last], [level], to=kinds.INT8))
    # A matrix product is fused only with its zero points written out.
    zeros = torch.zeros(len(layer.scales), dtype=torch.int8)  # (O,)
    graph.initializer.append(onnx.numpy_helper.from_array(layer.scales.numpy(), f"{weight}_scales"))
    inputs = [level, f"{weight}_scales"]
    if layer.integers.dim() == 2:
        graph.initializer.append(onnx.numpy_helper.from_array(zeros.numpy(), f"_zeros{key}"))
        inputs.append(f"_zeros{key}")
    return [*nodes, helper.make_node("DequantizeLinear", inputs, [name], axis=axis)]


def _bias_nodes(graph: Any, key: str, weight: str, taken: dict[str, str], layer: IntegerLayer) -> list[Any]:
    onnx = import_extra("onnx")
    graph.initializer.append(onnx.helper.make_tensor(f"_input{key}", onnx.TensorProto.FLOAT, (), [layer.input_scale]))
    units = f"_units{key}"
    nodes = [onnx.helper.make_node("Mul", [f"{weight}_scales", f"_input{key}"], [units])]
    for bias, integers in layer.biases.items():
        graph.initializer.append(onnx.numpy_helper.from_array(integers.numpy(), bias + INTEGERS))
        nodes.append(onnx.helper.make_node("DequantizeLinear", [bias + INTEGERS, units], [taken[bias]], axis=0))
    return nodes


def _take_transposed(graph: Any, name: str) -> str | None:
    """Remove the node that transposes a matrix, if that is all that reads it; return its output's name."""
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != "Transpose":
        return None
    graph.node.remove(readers[0])
    return str(readers[0].output[0])


def _constants(graph: Any) -> dict[str, Any]:
    to_array = import_extra("onnx").numpy_helper.to_array
    return {constant.name: to_array(constant) for constant in graph.initializer}


def _replace(entries: Any, others: list[Any]) -> None:
    del entries[:]
    entries.extend(others)
