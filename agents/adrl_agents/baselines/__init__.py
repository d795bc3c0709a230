"""Searches that do not learn: generators of configurations that receive each measurement."""

from adrl_agents.baselines.ip import solve
from adrl_agents.baselines.local import neighbours, rank
from adrl_agents.baselines.methods import METHODS
from adrl_agents.baselines.proposals import MakeProposals, Proposals
from adrl_agents.baselines.table import knapsack

__all__ = ["METHODS", "MakeProposals", "Proposals", "knapsack", "neighbours", "rank", "solve"]
