"""From float weights to quantized weights: quantizers, calibration and integer codes."""

from adrl_gym.quantization.codes import CodedWeight, encode_layers, is_codebook, parameter_name
from adrl_gym.quantization.grid import levels, nearest, nonzero
from adrl_gym.quantization.layerwise import quantize_layers
from adrl_gym.quantization.sequential import CALIBRATION_IMAGES, POSITIONS, RECIPES, Recipe, SequentialQuantizer

__all__ = [
    "CALIBRATION_IMAGES",
    "POSITIONS",
    "RECIPES",
    "CodedWeight",
    "Recipe",
    "SequentialQuantizer",
    "encode_layers",
    "is_codebook",
    "levels",
    "nearest",
    "nonzero",
    "parameter_name",
    "quantize_layers",
]
