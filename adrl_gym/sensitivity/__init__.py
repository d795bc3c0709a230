"""Layer sensitivity: the cost of each bit-width in each layer, and the knapsack under a budget."""

from adrl_gym.sensitivity.incumbent import CostsAround, costs_around
from adrl_gym.sensitivity.measured import layer_costs, one_layer_costs
from adrl_gym.sensitivity.table import LayerTable, finite, left_to_search

__all__ = ["CostsAround", "LayerTable", "costs_around", "finite", "layer_costs", "left_to_search", "one_layer_costs"]
