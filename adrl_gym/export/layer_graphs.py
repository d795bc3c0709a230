"""One layer as an ONNX graph, in float or with integer weights and activations."""

from typing import Any

import numpy as np
from torch import nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.export.extras import import_extra
from adrl_gym.layers import Convolution, LayerSpec

_SCALE, _ZERO = 0.02, 0  # of the activations: uint8, as after a ReLU; any other takes as long
_OPSETS = {2: 25, 4: 21, 8: 21, 32: 21}  # weight bits -> opset that stores them


def layer_model(layer: LayerSpec, module: nn.Module, weight_bits: int, clamped: bool = False) -> bytes:
    """Return a model of one layer with random weights, from ``x`` to ``y``, batch 1.

    At 32 bits, a float layer and a ReLU or, if ``clamped``, ReLU6, which takes onnxruntime longer. Below, uint8 inputs
    and outputs and int8 weights with a scale for each output channel, between QuantizeLinear and DequantizeLinear;
    weights of 4 and 2 bits are stored as such and cast to INT8.

    Args:
        layer: a convolution or a linear layer.
        module: its module, for padding and dilation.
        weight_bits: 2, 4, 8 or 32.
        clamped: a ReLU6 follows the layer.

    Raises:
        AdrlGymError: a layer of another kind.
    """
    onnx = import_extra("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    operator, attributes, weight, axis = _operator(layer, module)
    if weight_bits == 32:
        bounds = {"lowest": 0.0, "highest": 6.0} if clamped else {}
        constants = [onnx.numpy_helper.from_array(weight, "weight")]
        constants += [onnx.numpy_helper.from_array(np.float32(bound), name) for name, bound in bounds.items()]
        nodes = [
            helper.make_node(operator, ["x", "weight"], ["sum"], **attributes),
            helper.make_node("Clip" if clamped else "Relu", ["sum", *bounds], ["y"]),
        ]
        kind = kinds.FLOAT
    else:
        constants, nodes = _integers(onnx, weight, axis, weight_bits)
        nodes += [
            helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["x_float"]),
            helper.make_node(operator, ["x_float", "weight"], ["sum"], **attributes),
            helper.make_node("QuantizeLinear", ["sum", "scale", "zero"], ["y"]),
        ]
        kind = kinds.UINT8
    ends = [
        helper.make_tensor_value_info(name, kind, [1, *shape])
        for name, shape in (("x", layer.input_shape), ("y", layer.output_shape))
    ]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", _OPSETS[weight_bits])]
    content: bytes = helper.make_model_gen_version(graph, opset_imports=opsets).SerializeToString()
    return content


def _operator(layer: LayerSpec, module: nn.Module) -> tuple[str, dict[str, Any], np.ndarray, int]:
    """Return ONNX's operator and attributes, the weight in its order, and the axis of its output channels."""
    random = np.random.default_rng(0)
    weight = random.normal(size=layer.weight_shape).astype(np.float32)
    if isinstance(module, Convolution):
        attributes = {
            "strides": list(module.stride),
            "dilations": list(module.dilation),
            "group": module.groups,
            "pads": _pads(layer, module),
        }
        return "Conv", attributes, weight, 0
    if isinstance(module, nn.Linear):
        return "MatMul", {}, np.ascontiguousarray(weight.T), 1
    raise AdrlGymError(
        f"{layer.name} is a {type(module).__name__}, and only convolutions and linear layers are measured: "
        f"add rows of {layer.signature} to the table by hand"
    )


def _pads(layer: LayerSpec, module: Any) -> list[int]:
    """Return the padding before and after along every side, such that the output has its size."""
    sides = range(len(module.kernel_size))
    reach = [module.dilation[i] * (module.kernel_size[i] - 1) + 1 for i in sides]
    whole = [
        max((layer.output_shape[1 + i] - 1) * module.stride[i] + reach[i] - layer.input_shape[1 + i], 0) for i in sides
    ]
    return [*(pad // 2 for pad in whole), *(pad - pad // 2 for pad in whole)]


def _integers(onnx: Any, weight: np.ndarray, axis: int, bits: int) -> tuple[list[Any], list[Any]]:
    """Return constants, and the nodes that make ``weight`` of them; of the activations, ``scale`` and ``zero``."""
    helper, kinds = onnx.helper, onnx.TensorProto
    channels, most = weight.shape[axis], 2 ** (bits - 1) - 1
    codes = np.clip(np.round(weight * most), -most - 1, most).astype(np.int8)
    stored = {2: "INT2", 4: "INT4", 8: "INT8"}[bits]
    constants = [
        helper.make_tensor("codes", getattr(kinds, stored), codes.shape, codes.reshape(-1).tolist()),
        onnx.numpy_helper.from_array(np.full(channels, 0.01, np.float32), "scales"),
        onnx.numpy_helper.from_array(np.zeros(channels, np.int8), "zeros"),
        onnx.numpy_helper.from_array(np.float32(_SCALE), "scale"),
        onnx.numpy_helper.from_array(np.uint8(_ZERO), "zero"),
    ]
    nodes = [
        helper.make_node("Cast", ["codes"], ["integers"], to=kinds.INT8),
        helper.make_node("DequantizeLinear", ["integers", "scales", "zeros"], ["weight"], axis=axis),
    ]
    return constants, nodes
