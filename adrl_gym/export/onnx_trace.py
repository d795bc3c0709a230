"""Networks as ONNX models, traced by PyTorch's exporter, and runs of them in onnxruntime."""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from adrl_gym.errors import AdrlGymError
from adrl_gym.export.extras import import_extra

CHECKED_IMAGES = 100  # whose predictions in PyTorch and in onnxruntime are compared
Operators = dict[Callable[..., Any], Callable[..., Any]]


def traced_model(
    network: nn.Module | ExportedProgram, images: Tensor, opset: int, operators: Operators | None = None
) -> Any:
    """Return a network as an ONNX model, not optimized: parameters keep their names.

    Args:
        network: a program already has its batch as a dimension.
        images: ``(N, C, H, W)``.
        opset: of the model.
        operators: operators that PyTorch's exporter does not know -> functions that make ONNX nodes of them.

    Raises:
        AdrlGymError: ``torch.export`` cannot trace it, or ONNX lacks an operator (names it).
    """
    import_extra("onnxscript")
    given: dict[str, Any] = {}
    if isinstance(network, nn.Module):
        example = images[:1].expand(2, *images.shape[1:])  # (2, C, H, W): PyTorch takes a batch of 1 for a fixed size
        given = {"args": (example,), "dynamic_shapes": ({0: "batch"},)}
    try:
        with _silent():
            program = torch.onnx.export(
                network,
                dynamo=True,
                custom_translation_table=operators,
                input_names=["images"],
                output_names=["logits"],
                opset_version=opset,
                optimize=False,
                verbose=False,
                **given,
            )
    except torch.onnx.OnnxExporterError as error:
        raise AdrlGymError(f"{type(network).__name__} cannot become ONNX: {_reason(error)}") from error
    assert program is not None
    model = program.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.ir_version = import_extra("onnx").helper.find_min_ir_version_for(list(model.opset_import))
    return model


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on the screen: PyTorch prints pages of advice before it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Return the part of PyTorch's explanation that names the operator or the line at fault."""
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
    if operator:
        return f"it has no operator for {operator[1]}; replace that in the network, or use the packed format"
    cause: BaseException = error.__cause__ or error
    line = next(iter(str(cause).splitlines()), type(cause).__name__)
    return f"torch.export cannot trace it ({line}); use the packed format"


def optimized(model: Any) -> Any:
    """Return a model with constants folded and without PyTorch's notes, which hold paths of this machine."""
    model = import_extra("onnxscript.optimizer").optimize(model)
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def run_model(content: bytes, images: Tensor) -> Tensor:
    """Return onnxruntime's logits ``(N, K)`` of ``(N, C, H, W)``."""
    return run_outputs(content, images, ["logits"])[0]


def run_outputs(content: bytes, images: Tensor, outputs: list[str]) -> list[Tensor]:
    """Return onnxruntime's outputs of those names for ``(N, C, H, W)``."""
    runtime = import_extra("onnxruntime")
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(found) for found in session.run(outputs, {"images": images.numpy()})]
    except Exception as error:  # its exceptions have no base class of their own
        raise AdrlGymError(f"onnxruntime cannot run this network ({error}): use the packed format") from error
