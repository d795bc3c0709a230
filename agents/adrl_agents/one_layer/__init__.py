"""What each layer costs, all others float or as in a good configuration: measured, and put together under a budget."""

from adrl_agents.one_layer.around import CostsAround, costs_around
from adrl_agents.one_layer.completion import Completion
from adrl_agents.one_layer.costs import layer_costs, one_layer_costs
from adrl_agents.one_layer.table import LayerTable

__all__ = ["Completion", "CostsAround", "LayerTable", "costs_around", "layer_costs", "one_layer_costs"]
