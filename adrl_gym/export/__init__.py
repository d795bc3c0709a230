"""Files of quantized networks: packed safetensors and ONNX."""

from adrl_gym.export.latency_table import Prediction, build_table, check_table
from adrl_gym.export.layer_speed import LayerSpeedOptions, processor_name
from adrl_gym.export.onnx_file import LinearLayers, save_onnx
from adrl_gym.export.onnx_fused import FusedOperators, integer_operators
from adrl_gym.export.onnx_integer_file import save_integer_onnx
from adrl_gym.export.onnx_linear import packed_layers
from adrl_gym.export.onnx_speed import Speed, SpeedOptions, compare_speed
from adrl_gym.export.onnx_weights import Opset
from adrl_gym.export.packed import load_packed, read_packed, save_packed
from adrl_gym.export.packing.half import half_precision
from adrl_gym.export.sizes import ExportSizes

__all__ = [
    "ExportSizes",
    "FusedOperators",
    "LayerSpeedOptions",
    "LinearLayers",
    "Opset",
    "Prediction",
    "Speed",
    "SpeedOptions",
    "build_table",
    "check_table",
    "compare_speed",
    "half_precision",
    "integer_operators",
    "load_packed",
    "packed_layers",
    "processor_name",
    "read_packed",
    "save_integer_onnx",
    "save_onnx",
    "save_packed",
]
