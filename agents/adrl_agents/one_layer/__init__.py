"""What each layer costs while all others are float: measured, and put together under a budget."""

from adrl_agents.one_layer.completion import Completion
from adrl_agents.one_layer.costs import layer_costs, one_layer_costs
from adrl_agents.one_layer.table import LayerTable

__all__ = ["Completion", "LayerTable", "layer_costs", "one_layer_costs"]
