"""Searches that do not learn: each a generator of configurations, told what they were measured as."""

from adrl_agents.baselines.exhaustive import exhaustive
from adrl_agents.baselines.greedy import greedy
from adrl_agents.baselines.ip import ip
from adrl_agents.baselines.local import local
from adrl_agents.baselines.proposals import MakeProposals
from adrl_agents.baselines.random import random
from adrl_agents.baselines.tpe import tpe
from adrl_agents.baselines.uniform import uniform
from adrl_agents.options import Method

METHODS: dict[Method, MakeProposals] = {
    "uniform": uniform,
    "random": random,
    "greedy": greedy,
    "ip": ip,
    "tpe": tpe,
    "local": local,
    "exhaustive": exhaustive,
}
