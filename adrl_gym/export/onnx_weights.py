"""Integer weights in an ONNX graph, in the form that onnxruntime folds into float weights when it loads the file.

A weight is ``Cast(integers) * scales``. ``DequantizeLinear`` would give the same values, but onnxruntime does not fold
it: every run would compute the weights anew, and a norm after the layer could not be merged with them.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from adrl_gym.costs import weight_bits
from adrl_gym.errors import AdrlGymError
from adrl_gym.export.extras import import_extra
from adrl_gym.export.packing.bitpack import pack, packed_size
from adrl_gym.export.sizes import ExportSizes
from adrl_gym.quantization import CodedWeight, QuantizedNetwork

INTEGERS = "_integers"  # a parameter's name with this is that of its integers
Opset = Literal[21, 25]  # the first with INT4, and the first with INT2


class Stored(NamedTuple):
    """A quantized weight as the file holds it; the weight is ``(integers + offset) * scales``.

    Attributes:
        integers: int8, of the weight's shape, each within ``width`` bits in two's complement.
        width: bits that an integer takes in the file: 2, 4 or 8.
        offset: 0, or 0.5 for 2 bits in 2.
        scales: float32, of a shape that the integers can be multiplied with.
    """

    integers: Tensor
    width: int
    offset: float
    scales: Tensor


def default_opset(bits: Sequence[int]) -> Opset:
    """Return 25 where a layer has 1 or 2 ``bits`` and the installed onnxruntime reads such a file, else 21."""
    return 25 if min(bits, default=8) <= 2 and reads_int2() else 21


def put_origin(model: Any, quantized: QuantizedNetwork, **others: str) -> None:
    """Write a network's name, checkpoint, quantizer and bits into the metadata of its model, as ``adrl_gym.KEY``."""
    metadata = {
        "network": quantized.origin.name,
        "checkpoint": quantized.origin.checkpoint,
        "quantizer": quantized.origin.quantizer,
        "bits": json.dumps(quantized.bits.as_dict()),
        **others,
    }
    import_extra("onnx").helper.set_model_props(model, {f"adrl_gym.{key}": value for key, value in metadata.items()})


def stored_bits(bits: int, opset: Opset) -> int:
    """Bits that a weight of ``bits`` bits takes in a file of the opset: 2, 4 or 8."""
    if bits <= 2 and opset == 25:
        return 2
    return 4 if bits <= 4 else 8


def stored(weight: CodedWeight, opset: Opset) -> Stored:
    """Choose the integers for a weight: those of ``CodedWeight.integers`` where they fit.

    The four levels of 2 bits are -3, -1, 1 and 3 times half a step. INT2 holds -2 to 1, so there they are stored as
    -2, -1, 0 and 1, and half is added: the product with the step is the same float32.
    """
    integers, scales = weight.integers()  # int8 (O, ...), (O,)
    width, offset = stored_bits(weight.bits, opset), 0.0
    if weight.bits == width == 2:
        integers, scales, offset = (integers - 1) // 2, 2 * scales, 0.5
    return Stored(integers, width, offset, scales.reshape(weight.steps.shape))


@cache
def reads_int2() -> bool:
    """Return True if the installed onnx and onnxruntime know opset 25 and INT2."""
    onnx, runtime = import_extra("onnx"), import_extra("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    with contextlib.suppress(Exception):  # onnx lacks the type, or onnxruntime, whose exceptions have no base class
        integers = helper.make_tensor("integers", kinds.INT2, [4], b"\0", raw=True)
        node = helper.make_node("Cast", ["integers"], ["levels"], to=kinds.FLOAT)
        output = helper.make_tensor_value_info("levels", kinds.FLOAT, [4])
        graph = helper.make_graph([node], "int2", [], [output], [integers])
        opsets = [helper.make_opsetid("", 25)]
        model = helper.make_model_gen_version(graph, opset_imports=opsets)
        runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {})
        return True
    return False


def take_weights(graph: Any, names: dict[str, set[str]]) -> dict[str, str]:
    """Turn float weights into inputs of the graph, so that no optimizer computes with their values.

    Args:
        graph: the traced network; its constants keep the names of the parameters.
        names: parameter -> all its names, if modules share it.

    Returns:
        Parameter -> its name in the graph.

    Raises:
        AdrlGymError: names a parameter that is not in the graph.
    """
    onnx, taken = import_extra("onnx"), {}
    for parameter, shared in names.items():
        places = [index for index, constant in enumerate(graph.initializer) if constant.name in shared]
        if not places:
            raise AdrlGymError(f"{parameter} is not a constant of the traced network: use the packed format")
        constant = graph.initializer.pop(places[0])
        taken[parameter] = constant.name
        graph.input.append(onnx.helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims)))
    return taken


def put_integers(graph: Any, taken: dict[str, str], weights: dict[str, Stored]) -> None:
    """Compute the inputs that ``take_weights`` made from integers and scales."""
    onnx = import_extra("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    inputs = [entry for entry in graph.input if entry.name not in taken.values()]
    del graph.input[:]
    graph.input.extend(inputs)
    nodes = []
    for index, (parameter, weight) in enumerate(weights.items()):
        raw = pack((weight.integers.flatten() & (2**weight.width - 1)).view(torch.uint8), weight.width)
        kind = getattr(kinds, f"INT{weight.width}")
        integers, scales = parameter + INTEGERS, f"{parameter}_scales"
        level = f"_levels_{index}"  # short: names are most of what a layer adds to the file
        graph.initializer.append(
            helper.make_tensor(integers, kind, weight.integers.shape, raw.numpy().tobytes(), raw=True)
        )
        graph.initializer.append(onnx.numpy_helper.from_array(weight.scales.numpy(), scales))
        nodes.append(helper.make_node("Cast", [integers], [level], to=kinds.FLOAT))
        if weight.offset:
            offset, shifted = f"_offset_{index}", f"_shifted_{index}"
            graph.initializer.append(helper.make_tensor(offset, kinds.FLOAT, (), [weight.offset]))
            nodes.append(helper.make_node("Add", [level, offset], [shifted]))
            level = shifted
        nodes.append(helper.make_node("Mul", [level, scales], [taken[parameter]]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def onnx_sizes(model: Any, float_bytes: int, weights: Mapping[str, CodedWeight], opset: Opset) -> ExportSizes:
    """Return the sizes of a model with integer weights.

    Args:
        model: with the integers of each parameter under its name and ``INTEGERS``.
        float_bytes: of the file of the same network in float32.
        weights: parameter -> quantized weight.
        opset: of the model.
    """
    to_array = import_extra("onnx").numpy_helper.to_array
    counts, integers = [w.codes.numel() for w in weights.values()], {f"{name}{INTEGERS}" for name in weights}
    others = [constant for constant in model.graph.initializer if constant.name not in integers]
    ideal = packed_size(weight_bits([w.bits for w in weights.values()], counts), 1)
    stored = packed_size(weight_bits([stored_bits(w.bits, opset) for w in weights.values()], counts), 1)
    return ExportSizes(
        float_bytes=float_bytes,
        ideal_bytes=ideal,
        other_bytes=sum(to_array(constant).nbytes for constant in others),
        file_bytes=model.ByteSize(),
        wider_bytes=stored - ideal,
    )
