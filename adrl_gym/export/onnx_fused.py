"""The operators that onnxruntime computes with integers, and those that it leaves in float."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adrl_gym.export.extras import import_extra

_TO_INTEGERS = ("QuantizeLinear", "DynamicQuantizeLinear")
_COMPUTING = ("QLinear", "QGemm", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True)
class FusedOperators:
    """Counts of the operators in onnxruntime's own graph of a file, by their names in ONNX.

    Attributes:
        integer: computed with integers.
        float: computed in float, though activations around them are quantized.

    >>> print(FusedOperators({"Conv": 52, "Add": 10}, {"LayerNormalization": 2}))
    onnxruntime computes with integers: 52 Conv, 10 Add; in float: 2 LayerNormalization
    """

    integer: dict[str, int]
    float: dict[str, int]

    def __str__(self) -> str:
        integer, rest = (", ".join(f"{n} {name}" for name, n in part.items()) for part in (self.integer, self.float))
        return f"onnxruntime computes with integers: {integer or 'nothing'}; in float: {rest or 'nothing'}"


def integer_operators(file: str | Path) -> FusedOperators:
    """Load a file in onnxruntime and count the operators that it computes with integers and in float.

    Raises:
        AdrlGymError: onnx or onnxruntime is not installed.
    """
    onnx, runtime = import_extra("onnx"), import_extra("onnxruntime")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3  # it warns that such a graph is for this processor alone
    with tempfile.TemporaryDirectory() as folder:
        settings.optimized_model_filepath = str(Path(folder) / "fused.onnx")
        runtime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        graph = onnx.load(settings.optimized_model_filepath).graph
    integer, rest = Counter[str](), Counter[str]()
    held = {constant.name for constant in graph.initializer}
    integers = {constant.name for constant in graph.initializer if constant.data_type in _integer_types(onnx)}
    for node in graph.node:
        kind = node.op_type
        if kind in _TO_INTEGERS:
            integers.update(node.output)
        elif kind.startswith(_COMPUTING):
            integer[_plain(kind)] += 1
            if kind.startswith("QLinear") or (kind == "QGemm" and len(node.input) > 7):  # with the output's grid
                integers.update(node.output)
        elif kind != "DequantizeLinear":
            read = [name for name in node.input if name not in held]
            if read and all(name in integers for name in read):  # it moves integers
                integers.update(node.output)
                integer[_plain(kind)] += 1
            elif read:
                rest[_plain(kind)] += 1
    return FusedOperators(dict(integer), dict(rest))


def _integer_types(onnx: Any) -> tuple[int, ...]:
    kinds = onnx.TensorProto
    return kinds.UINT8, kinds.INT8


def _plain(kind: str) -> str:
    """Return ONNX's name of an operator of onnxruntime."""
    for start in ("QLinear", "Q", "Nhwc", "Fused"):
        kind = kind.removeprefix(start)
    return "MatMul" if kind.startswith("MatMulInteger") else kind
