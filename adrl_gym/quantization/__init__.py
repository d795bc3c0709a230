"""From float weights to quantized weights: quantizers, calibration and integer codes."""

from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.codes import CodedWeight, parameter_name
from adrl_gym.quantization.grid import levels, nearest, nonzero
from adrl_gym.quantization.integer import ON_GRID, IntegerLayer, IntegerNetwork
from adrl_gym.quantization.layerwise import LayerwiseParams, quantize_layers
from adrl_gym.quantization.network import Origin, QuantizedNetwork
from adrl_gym.quantization.registry import QUANTIZERS, find_quantizer
from adrl_gym.quantization.sequential import (
    CALIBRATION_IMAGES,
    CALIBRATIONS,
    POSITIONS,
    Calibration,
    SequentialQuantizer,
)

__all__ = [
    "CALIBRATIONS",
    "CALIBRATION_IMAGES",
    "ON_GRID",
    "POSITIONS",
    "QUANTIZERS",
    "Calibration",
    "CodedWeight",
    "IntegerLayer",
    "IntegerNetwork",
    "LayerwiseParams",
    "Origin",
    "QuantizedNetwork",
    "Quantizer",
    "SequentialQuantizer",
    "find_quantizer",
    "levels",
    "nearest",
    "nonzero",
    "parameter_name",
    "quantize_layers",
]
