"""Costs of bit configurations, and the budget that limits them."""

from adrl_gym.costs.cost import AdditiveCost
from adrl_gym.costs.limits import Limits
from adrl_gym.costs.size import FLOAT_BITS, average_bits, size_cost, size_ratio, weight_bits

__all__ = ["FLOAT_BITS", "AdditiveCost", "Limits", "average_bits", "size_cost", "size_ratio", "weight_bits"]
