"""Calibration of quantized activations: histograms of the layers' inputs, ranges, grids."""

from adrl_gym.activations.calibrate import InputGrids, calibrate_activations, check_activation_range
from adrl_gym.activations.histogram import ActivationHistogram
from adrl_gym.activations.network import (
    Activations,
    InputPrecisions,
    check_activations,
    with_quantized_inputs,
)
from adrl_gym.activations.ranges import ACTIVATION_RANGES, PERCENTILE, ActivationRange, choose_grid

__all__ = [
    "ACTIVATION_RANGES",
    "PERCENTILE",
    "ActivationHistogram",
    "ActivationRange",
    "Activations",
    "InputGrids",
    "InputPrecisions",
    "calibrate_activations",
    "check_activation_range",
    "check_activations",
    "choose_grid",
    "with_quantized_inputs",
]
