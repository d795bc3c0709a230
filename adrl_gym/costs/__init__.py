"""Costs of bit configurations, and the budget that limits them."""

from adrl_gym.costs.budget import (
    COUNT_ACTIVATIONS,
    KINDS,
    Budget,
    budget_name,
    check_shares,
    limits_of,
    parse_budget,
    plain_budget,
    told_ratios,
)
from adrl_gym.costs.cost import AdditiveCost
from adrl_gym.costs.kinds import cost_of, searched_cost
from adrl_gym.costs.limits import Limits
from adrl_gym.costs.size import FLOAT_BITS, average_bits, size_cost, size_ratio, weight_bits
from adrl_gym.costs.table import TABLE_COLUMNS, TABLE_SCHEMA, CostTable, TableRow

__all__ = [
    "COUNT_ACTIVATIONS",
    "FLOAT_BITS",
    "KINDS",
    "TABLE_COLUMNS",
    "TABLE_SCHEMA",
    "AdditiveCost",
    "Budget",
    "CostTable",
    "Limits",
    "TableRow",
    "average_bits",
    "budget_name",
    "check_shares",
    "cost_of",
    "limits_of",
    "parse_budget",
    "plain_budget",
    "searched_cost",
    "size_cost",
    "size_ratio",
    "told_ratios",
    "weight_bits",
]
