"""Searches that do not learn: each a generator of configurations, told what they were measured as."""

from adrl_agents.options import Method
from adrl_agents.searches.exhaustive import exhaustive
from adrl_agents.searches.greedy import greedy
from adrl_agents.searches.ip import ip
from adrl_agents.searches.local import local
from adrl_agents.searches.proposals import MakeProposals, Proposals
from adrl_agents.searches.random import random
from adrl_agents.searches.tpe import tpe
from adrl_agents.searches.uniform import uniform

METHODS: dict[Method, MakeProposals] = {
    "uniform": uniform,
    "random": random,
    "greedy": greedy,
    "ip": ip,
    "tpe": tpe,
    "local": local,
    "exhaustive": exhaustive,
}

__all__ = ["METHODS", "MakeProposals", "Proposals"]
