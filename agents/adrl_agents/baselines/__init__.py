"""Searches that do not learn: generators of configurations that receive each measurement."""

from adrl_agents.baselines.exhaustive import exhaustive
from adrl_agents.baselines.greedy import greedy
from adrl_agents.baselines.ip import ip
from adrl_agents.baselines.local import local, neighbours
from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.random import random
from adrl_agents.baselines.tpe import tpe
from adrl_agents.baselines.uniform import uniform

__all__ = ["Proposals", "exhaustive", "greedy", "ip", "local", "neighbours", "random", "tpe", "uniform"]
