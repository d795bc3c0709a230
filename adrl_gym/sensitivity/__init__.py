"""Layer sensitivity: the cost of each bit-width in each layer, and the knapsack under a budget."""

from adrl_gym.sensitivity.incumbent import IncumbentSensitivity, measure_around
from adrl_gym.sensitivity.measured import measure_layer, measure_sensitivity
from adrl_gym.sensitivity.table import SensitivityTable

__all__ = ["IncumbentSensitivity", "SensitivityTable", "measure_around", "measure_layer", "measure_sensitivity"]
