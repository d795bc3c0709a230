"""ONNX files with integer weights, as any runtime of opset 21 reads them.

PyTorch's exporter writes the network as it is, and then the weights of the quantized layers are replaced by integers
with one scale for each output channel, which give back the very float weights (``onnx_weights``). Activations are
float, whatever grids the layers' inputs have. Batch norms are not folded into the weights, which would no longer be on
their grid; a runtime may do so.
"""

import copy
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.export.extras import import_extra
from adrl_gym.export.onnx_linear import linear_rows, pack_linear_layers
from adrl_gym.export.onnx_trace import CHECKED_IMAGES, optimized, run_model, traced_model
from adrl_gym.export.onnx_weights import (
    Opset,
    default_opset,
    onnx_sizes,
    put_integers,
    put_origin,
    stored,
    take_weights,
)
from adrl_gym.export.sizes import ExportSizes
from adrl_gym.files import write_whole
from adrl_gym.layers import float_inputs
from adrl_gym.outputs import by_position
from adrl_gym.quantization import QuantizedNetwork

_EQUAL = 0.9  # of them at least, where inputs of linear layers are rounded

LinearLayers = Literal["float", "nbits"]


def save_onnx(
    file: str | Path,
    quantized: QuantizedNetwork,
    images: Tensor,
    opset: Opset | None = None,
    float_file: str | Path | None = None,
    linear: LinearLayers = "float",
) -> ExportSizes:
    """Write a network with quantized weights and float activations as ONNX, checked, whole or not at all.

    Input ``images`` ``(batch, C, H, W)``, output ``logits`` ``(batch, K)``, any batch. The file has passed ONNX's own
    checker, and onnxruntime has predicted the same classes as PyTorch on the first 100 images.

    Args:
        file: where to; a file that is there is replaced.
        quantized: for example ``QuantProblem.quantized(bits)``; layers without bits stay float.
        images: float32 ``(N, C, H, W)``, at least one.
        opset: 21, or 25, in which 1 and 2 bits take 2 bits instead of 4. Without it, 25 where a layer has so few bits
            and the installed onnxruntime reads such a file, else 21.
        float_file: where to write the same network with float32 weights, for comparison.
        linear: ``nbits`` lets onnxruntime's ``MatMulNBits`` compute the linear layers that it computes faster, measured
            here; then only onnxruntime reads the file, and inputs of these layers are rounded to 8 bits. Where the
            rounding changes predictions, up to a tenth of them, a ``UserWarning`` says how many.

    Raises:
        AdrlGymError: no images, bits for unknown layers, weights that do not fit their bits, a codebook, an operator
            that ONNX has not, a network that torch.export cannot trace or onnxruntime cannot run, other predictions, a
            place that cannot be written.
    """
    onnx = import_extra("onnx")
    import_extra("onnxruntime")  # before the work
    if len(images) == 0:
        raise AdrlGymError("no images to trace the network with: give at least one", parameter="images")
    if quantized.codebook:
        raise AdrlGymError(
            f"ONNX files have no codebooks, and {quantized.origin.quantizer} makes them: use the packed format, or "
            "search with the quantizer gptq or linear"
        )
    coded = quantized.encode()
    opset = default_opset(quantized.bits.bits) if opset is None else opset
    with float_inputs(quantized.network):
        network = copy.deepcopy(quantized.network).cpu().eval().to(memory_format=torch.contiguous_format)
    model = traced_model(network, images, opset)
    float_content = optimized(copy.deepcopy(model)).SerializeToString()
    taken = take_weights(model.graph, {parameter: _shared(network, parameter) for parameter in coded})
    model = optimized(model)
    weights = {parameter: stored(weight, opset) for parameter, weight in coded.items()}
    rows = linear_rows(network, images) if linear == "nbits" else {}
    packed = pack_linear_layers(model, taken, weights, rows)
    put_integers(model.graph, taken, {parameter: weights[parameter] for parameter in taken})
    put_origin(model, quantized)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    least = _EQUAL if packed else 1.0
    _check_predictions(run_model(content, images[:CHECKED_IMAGES]), network, images[:CHECKED_IMAGES], least)
    write_whole(Path(file), content)
    if float_file is not None:
        write_whole(Path(float_file), float_content)
    return onnx_sizes(model, len(float_content), coded, opset)


def _shared(network: nn.Module, parameter: str) -> set[str]:
    """All names of a parameter, if several modules share it: the trace has it under one of them."""
    tensor = network.get_parameter(parameter)
    return {name for name, other in network.named_parameters(remove_duplicate=False) if other is tensor}


def _check_predictions(logits: Tensor, network: nn.Module, images: Tensor, least: float) -> None:
    """Raise ``AdrlGymError`` unless logits ``(N, K)`` of ``(N, C, H, W)`` predict what the network does.

    ``least``: share of the images for which they must.
    """
    with torch.inference_mode():
        expected = network(images.clone())  # (N, K); it may write into its input
    same = by_position(logits).argmax(2) == by_position(expected).argmax(2)  # (N, P)
    other = len(images) - int(same.all(1).sum())
    differing = f"onnxruntime predicts {other} of {len(images)} images otherwise than PyTorch"
    if len(images) - other < least * len(images):
        remedy = "use the packed format, and report this network" if least == 1 else "export it without nbits"
        raise AdrlGymError(f"{differing}, so nothing was written: {remedy}")
    if other:
        warnings.warn(f"{differing}: MatMulNBits rounds the inputs of linear layers to 8 bits", stacklevel=3)
