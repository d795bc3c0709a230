"""The typed options of the command lines: one dataclass for all agents, and one for each agent's own."""

from adrl_agents.options.agents import ADRLOptions, SB3Options, SearchOptions
from adrl_agents.options.budget import BudgetOption
from adrl_agents.options.environment_ids import DEFAULT_ID, GENERIC_ID, spec_of
from adrl_agents.options.shared import Options, Switch, cache_beside, cache_named, json_value, picked_output

__all__ = [
    "DEFAULT_ID",
    "GENERIC_ID",
    "ADRLOptions",
    "BudgetOption",
    "Options",
    "SB3Options",
    "SearchOptions",
    "Switch",
    "cache_beside",
    "cache_named",
    "json_value",
    "picked_output",
    "spec_of",
]
