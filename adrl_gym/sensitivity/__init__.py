"""What each layer costs, all others float or as in a good configuration: measured, and put together under a budget."""

from adrl_gym.sensitivity.incumbent import CostsAround, costs_around
from adrl_gym.sensitivity.knapsack import Completion
from adrl_gym.sensitivity.measured import layer_costs, one_layer_costs
from adrl_gym.sensitivity.table import LayerTable

__all__ = ["Completion", "CostsAround", "LayerTable", "costs_around", "layer_costs", "one_layer_costs"]
