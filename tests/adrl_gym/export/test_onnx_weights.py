"""Integer weights in the ONNX graph: their types, their exact values, and that loading folds them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.onnx_weights import Opset, reads_int2
from exported import Model


@pytest.mark.parametrize(
    ("bits", "known", "opset", "types"),
    [
        ((1, 2, 3, 5), True, 25, ["INT2", "INT2", "INT4", "INT8"]),
        ((1, 2, 3, 5), False, 21, ["INT4", "INT4", "INT4", "INT8"]),
        ((3, 4, 3, 8), True, 21, ["INT4", "INT4", "INT4", "INT8"]),
    ],
)
def test_int2_is_used_where_it_is_smaller_and_known(
    mixed: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: tuple[int, ...],
    known: bool,
    opset: int,
    types: list[str],
) -> None:
    monkeypatch.setattr("adrl_gym.export.onnx_weights.reads_int2", lambda: known)
    quantized = mixed.problem.quantized(bits)
    save_onnx(tmp_path / "file", quantized, mixed.images)
    model = onnx.load(tmp_path / "file")
    stored = {c.name: onnx.TensorProto.DataType.Name(c.data_type) for c in model.graph.initializer}
    assert [stored[f"{name}.weight_integers"] for name in quantized.bits.names] == types
    assert [entry.version for entry in model.opset_import] == [opset]


def test_a_runtime_without_int2_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, *args: object, **keywords: object) -> None:
            raise RuntimeError("unsupported opset")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Old)
    assert not reads_int2.__wrapped__()


@pytest.mark.parametrize("opset", [21, 25])
def test_loading_folds_the_weights_so_that_it_runs_as_the_float_file(
    mixed: Model, tmp_path: Path, opset: Opset
) -> None:
    save_onnx(tmp_path / "file", mixed.quantized, mixed.images, opset, tmp_path / "float")
    run, logits = [], []
    for name in ("file", "float"):
        settings = onnxruntime.SessionOptions()
        settings.optimized_model_filepath = str(tmp_path / f"{name}.optimized")
        settings.log_severity_level = 3  # the optimized file depends on the processor
        session = onnxruntime.InferenceSession(tmp_path / name, settings, providers=["CPUExecutionProvider"])
        logits.append(session.run(None, {"images": mixed.images.numpy()})[0])
        run.append(sorted(node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node))
    assert run[0] == run[1]
    assert "Cast" not in run[0]
    assert "BatchNormalization" not in run[0], "merged with the convolution before it"
    assert np.array_equal(*logits)


def test_logits_are_those_of_dequantize_linear(mixed: Model, tmp_path: Path) -> None:
    """Build the graph of former files: the same integers and scales, and one node that multiplies them."""
    save_onnx(tmp_path / "file", mixed.quantized, mixed.images, opset=21)
    model = onnx.load(tmp_path / "file")
    before = onnx.ModelProto.FromString(model.SerializeToString())
    scales = {c.name: c for c in before.graph.initializer if c.name.endswith("_scales")}
    casts = {node.output[0]: node for node in before.graph.node if node.op_type == "Cast"}
    for node in before.graph.node:
        if node.op_type == "Mul" and node.input[1] in scales:
            scale, cast = scales[node.input[1]], casts[node.input[0]]
            axis, count = max(enumerate(scale.dims), key=lambda entry: entry[1])
            del scale.dims[:]
            scale.dims.append(count)
            node.CopyFrom(
                onnx.helper.make_node("DequantizeLinear", [cast.input[0], scale.name], node.output, axis=axis)
            )
            before.graph.node.remove(cast)
    assert [node.op_type for node in before.graph.node].count("DequantizeLinear") == 4
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    old, new = (
        onnxruntime.InferenceSession(m.SerializeToString(), settings, providers=["CPUExecutionProvider"]).run(
            None, {"images": mixed.images.numpy()}
        )[0]
        for m in (before, model)
    )
    assert np.array_equal(old, new)
