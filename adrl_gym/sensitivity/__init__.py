"""Layer sensitivity: the cost of each bit-width in each layer, and the knapsack under a budget."""

from adrl_gym.sensitivity.expansion import Expansion, fisher_vectors
from adrl_gym.sensitivity.gradient import GradientSensitivity
from adrl_gym.sensitivity.incumbent import IncumbentSensitivity, measure_around
from adrl_gym.sensitivity.interactions import minimise_pairwise
from adrl_gym.sensitivity.knapsack import combined_sizes
from adrl_gym.sensitivity.measured import measure_layer, measure_sensitivity
from adrl_gym.sensitivity.projection import NotDifferentiableError
from adrl_gym.sensitivity.table import SensitivityTable
from adrl_gym.sensitivity.tables import Sensitivity, Surrogate, TableSource, sensitivity_tables

__all__ = [
    "Expansion",
    "GradientSensitivity",
    "IncumbentSensitivity",
    "NotDifferentiableError",
    "Sensitivity",
    "SensitivityTable",
    "Surrogate",
    "TableSource",
    "combined_sizes",
    "fisher_vectors",
    "measure_around",
    "measure_layer",
    "measure_sensitivity",
    "minimise_pairwise",
    "sensitivity_tables",
]
