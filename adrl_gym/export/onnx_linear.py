"""Linear layers multiplied from packed integers: onnxruntime's operator ``MatMulNBits``, where it is faster.

A linear layer of few rows spends its time reading weights. ``Cast`` and ``Mul`` are folded into float weights when a
file is loaded; ``MatMulNBits`` keeps 2, 4 or 8 bits of each weight in memory. It is onnxruntime's own (domain
``com.microsoft``), and rounds its inputs to 8 bits, 128 of them with one scale (``accuracy_level`` 4; with float inputs
it is slower than a float product). With many rows, as for the tokens of a transformer, it is hardly faster.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from adrl_gym.export.extras import import_extra
from adrl_gym.export.onnx_speed import compare_speed
from adrl_gym.export.onnx_weights import INTEGERS, Stored
from adrl_gym.export.packing.bitpack import pack
from adrl_gym.quantization import parameter_name

_BLOCK = 128  # inputs with one scale; smaller blocks store more scales
_ROUNDED_INPUTS = 4  # accuracy level: products of 8-bit integers
_GAIN = 1.1  # least speed over the float layer: medians of short runs differ by some percent
_DOMAIN = "com.microsoft"


def linear_rows(network: nn.Module, images: Tensor) -> dict[str, int]:
    """Return parameter -> rows that it multiplies for one image, of the linear layers that run.

    Args:
        network: in evaluation mode.
        images: ``(N, C, H, W)``; the first one runs.
    """
    rows: dict[str, int] = {}

    def note(name: str, module: nn.Linear, inputs: tuple[Tensor]) -> None:
        rows.setdefault(parameter_name(name, "weight"), inputs[0].numel() // module.in_features)

    hooks = [
        module.register_forward_pre_hook(lambda m, x, name=name: note(name, m, x))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.inference_mode():
        network(images[:1].clone())
    for hook in hooks:
        hook.remove()
    return rows


def pack_linear_layers(
    model: Any, taken: dict[str, str], weights: Mapping[str, Stored], rows: Mapping[str, int]
) -> list[str]:
    """Let ``MatMulNBits`` compute the layers that it computes faster, measured on this machine, layer by layer.

    Args:
        model: in ONNX, with inputs for weights, as ``take_weights`` makes them; changed in place.
        taken: parameter -> its input; without the packed parameters afterwards.
        weights: parameter -> integers and scales.
        rows: as ``linear_rows`` gives them.

    Returns:
        The packed parameters.
    """
    helper, packed = import_extra("onnx").helper, []
    for parameter, weight in weights.items():
        products = _products(model.graph, taken[parameter]) if parameter in rows else []
        if not products or not _is_faster(weight, rows[parameter]):
            continue
        for product in products:
            _replace(model.graph, product, _product(parameter, weight, product))
        model.graph.initializer.extend(_constants(parameter, weight))
        _remove_input(model.graph, taken.pop(parameter))
        packed.append(parameter)
    if packed:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return packed


def packed_layers(file: str | Path) -> list[str]:
    """Return the layers of an ONNX file that ``MatMulNBits`` computes, in its order."""
    nodes = import_extra("onnx").load(file).graph.node
    names = [node.input[1] for node in nodes if node.op_type == "MatMulNBits"]
    return list(dict.fromkeys(name.removesuffix(INTEGERS).removesuffix("weight").rstrip(".") for name in names))


def _products(graph: Any, name: str) -> list[Any]:
    """Return the nodes that compute ``x @ weight.T``, or none if the weight has another use.

    PyTorch's exporter writes a Gemm for inputs of two dimensions, else a transposition and a MatMul.
    """
    found, transposed = [], set[str]()
    for node in graph.node:
        weight = node.input[1] if len(node.input) > 1 else ""
        product = weight in transposed if node.op_type == "MatMul" else weight == name and _is_transposing(node)
        if product:
            found.append(node)
        elif node.op_type == "Transpose" and name in node.input:
            transposed.add(node.output[0])
        elif (transposed | {name}) & set(node.input):
            return []
    return found


def _is_transposing(node: Any) -> bool:
    return node.op_type == "Gemm" and any(attribute.name == "transB" for attribute in node.attribute)


def _product(parameter: str, weight: Stored, node: Any) -> list[Any]:
    """Return nodes that compute what a product computes, with packed integers.

    ``x @ ((integers + offset) * scales).T`` is the packed product, and the sum of ``x`` times ``offset * scales``.
    """
    helper = import_extra("onnx").helper
    (outputs, inputs), (x, y) = weight.integers.shape, (node.input[0], node.output[0])
    nodes = [
        helper.make_node(
            "MatMulNBits",
            [x, parameter + INTEGERS, f"{parameter}_scales"],
            [f"{y}_product"],
            domain=_DOMAIN,
            K=inputs,
            N=outputs,
            bits=weight.width,
            block_size=_BLOCK,
            accuracy_level=_ROUNDED_INPUTS,
        )
    ]
    if weight.offset:
        nodes += [
            helper.make_node("ReduceSum", [x, f"{parameter}_axis"], [f"{y}_sums"]),
            helper.make_node("Mul", [f"{y}_sums", f"{parameter}_offsets"], [f"{y}_offsets"]),
            helper.make_node("Add", [nodes[-1].output[0], f"{y}_offsets"], [f"{y}_levels"]),
        ]
    if len(node.input) > 2:  # a Gemm's bias
        nodes.append(helper.make_node("Add", [nodes[-1].output[0], node.input[2]], [f"{y}_biased"]))
    nodes[-1].output[0] = y
    return nodes


def _constants(parameter: str, weight: Stored) -> list[Any]:
    """Return what the nodes of a packed product read: integers, scales of all blocks, what the offset adds."""
    from_array = import_extra("onnx").numpy_helper.from_array
    outputs, inputs = weight.integers.shape
    blocks, zero = -(-inputs // _BLOCK), 2 ** (weight.width - 1)
    codes = (weight.integers.short() + zero).to(torch.uint8)  # (O, I)
    codes = pad(codes, (0, blocks * _BLOCK - inputs), value=zero)  # (O, blocks * 128)
    stream = pack(codes, weight.width).reshape(outputs, blocks, -1)  # (O, blocks, bytes)
    scales = weight.scales.reshape(outputs, 1)  # (O, 1)
    constants = {"_scales": scales.repeat(1, blocks), INTEGERS: stream}
    if weight.offset:
        constants |= {"_offsets": weight.offset * scales[:, 0], "_axis": torch.tensor([-1])}
    return [from_array(value.contiguous().numpy(), parameter + name) for name, value in constants.items()]


def _is_faster(weight: Stored, rows: int) -> bool:
    """Measure both products of ``(rows, I)`` inputs side by side."""
    onnx = import_extra("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    outputs, inputs = weight.integers.shape
    values = (weight.integers + weight.offset) * weight.scales.reshape(outputs, 1)  # (O, I)
    plain = helper.make_node("Gemm", ["images", "weight"], ["y"], transB=1)
    graphs = (
        ([plain], [onnx.numpy_helper.from_array(values.numpy(), "weight")]),
        (_product("weight", weight, plain), _constants("weight", weight)),
    )
    ends = [
        helper.make_tensor_value_info(name, kind, [rows, features])
        for name, features in (("images", inputs), ("y", outputs))
    ]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(_DOMAIN, 1)]
    version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("float", "packed")]
        for file, (nodes, constants) in zip(files, graphs, strict=True):
            graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
            file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString())
        x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0))
        return compare_speed(files[0], files[1], x).factor >= _GAIN


def _replace(graph: Any, node: Any, nodes: list[Any]) -> None:
    place = list(graph.node).index(node)
    del graph.node[place]
    for new in reversed(nodes):
        graph.node.insert(place, new)


def _remove_input(graph: Any, name: str) -> None:
    """Remove an input, and a transposition of it that nothing reads."""
    kept = [entry for entry in graph.input if entry.name != name]
    del graph.input[:]
    graph.input.extend(kept)
    for node in [node for node in graph.node if name in node.input]:
        graph.node.remove(node)
