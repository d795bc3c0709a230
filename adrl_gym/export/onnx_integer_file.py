"""ONNX files with quantized weights and activations, which runtimes compute in integers."""

from pathlib import Path
from typing import Any

from torch import Tensor

from adrl_gym.export.extras import import_extra
from adrl_gym.export.onnx_integer import (
    absorb_activations,
    absorb_pads,
    drop_unused,
    grid_operators,
    pad_integers,
    pool_globally,
    put_layers,
    without_grids,
)
from adrl_gym.export.onnx_integer_check import check_integers
from adrl_gym.export.onnx_trace import CHECKED_IMAGES, optimized, traced_model
from adrl_gym.export.onnx_weights import Opset, default_opset, onnx_sizes, put_origin, take_weights
from adrl_gym.export.sizes import ExportSizes
from adrl_gym.files import write_whole
from adrl_gym.quantization import IntegerNetwork, QuantizedNetwork


def save_integer_onnx(
    file: str | Path,
    quantized: QuantizedNetwork,
    images: Tensor,
    opset: Opset | None = None,
    float_file: str | Path | None = None,
) -> ExportSizes:
    """Write a quantized network with activations of 8 bits as ONNX, checked, whole or not at all.

    Batch norms are part of the layers' scales and biases. Input and output are those of ``save_onnx``: float images and
    float logits. onnxruntime has predicted the same classes as ``QuantizedNetwork.simulate`` on at least 90 % of the
    first 100 images or, where differences in rounding grow, computed each operator as there (``onnx_integer_check``).

    Args:
        file: where to; a file that is there is replaced.
        quantized: for example ``QuantProblem.quantized(bits)``.
        images: float32 ``(N, C, H, W)``, at least one; activations without a grid are calibrated on all of them.
        opset: see ``save_onnx``.
        float_file: where to write the same network in float32, for comparison.

    Raises:
        AdrlGymError: see ``save_onnx`` and ``QuantizedNetwork.integer_network``.
    """
    onnx = import_extra("onnx")
    import_extra("onnxruntime")  # before the work
    opset = default_opset(quantized.bits.bits) if opset is None else opset
    network = quantized.integer_network(images)
    model, float_model = _models(network, images, opset)
    put_origin(model, quantized, activations="8")
    onnx.checker.check_model(model, full_check=True)
    content, float_content = model.SerializeToString(), float_model.SerializeToString()
    check_integers(model, network, images[:CHECKED_IMAGES])
    write_whole(Path(file), content)
    if float_file is not None:
        write_whole(Path(float_file), float_content)
    return onnx_sizes(model, len(float_content), quantized.encode(), opset)


def _models(network: IntegerNetwork, images: Tensor, opset: Opset) -> tuple[Any, Any]:
    """Return the model with integers, and the same in float."""
    model = traced_model(network.program, images, opset, grid_operators())
    values: dict[str, Tensor] = {}
    for weight, layer in network.layers.items():
        values |= {weight: layer.float_weight, **layer.float_biases}
    taken = take_weights(model.graph, {name: {network.names.get(name, name)} for name in values})
    model = optimized(model)
    float_model = without_grids(model, {taken[name]: value for name, value in values.items()})
    drop_unused(float_model.graph)
    absorb_activations(model.graph)
    pool_globally(model.graph)
    absorb_pads(model.graph)
    pad_integers(model.graph)
    put_layers(model.graph, taken, network.layers, opset)
    drop_unused(model.graph)
    return model, float_model
