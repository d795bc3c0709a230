"""Sensitivity tables under a budget of the size alone."""

from collections.abc import Sequence

import numpy as np

from adrl_gym.sensitivity import SensitivityTable


def weight_sizes(parameters: Sequence[int], widths: int, min_bits: int = 1) -> np.ndarray:
    """Weight bits of layers at bit-widths, ``(1, n, widths)``."""
    sizes: np.ndarray = np.outer(parameters, np.arange(min_bits, min_bits + widths))[None]
    return sizes


def size_table(costs: np.ndarray, parameters: Sequence[int], allowed: int, min_bits: int = 1) -> SensitivityTable:
    """Table of layers with so many weights each."""
    return SensitivityTable(costs, weight_sizes(parameters, costs.shape[1], min_bits), [allowed], min_bits)
