"""Search bit-widths without learning.

Methods: uniform, random, greedy, integer programming (ip), TPE, local and exhaustive.
"""

from typing import Any

import gymnasium as gym

from adrl_agents.baselines import METHODS, Proposals
from adrl_agents.options import SearchOptions
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = SearchOptions


def main(options: SearchOptions) -> SearchResult:
    """Run one search with ``options.method``."""

    def proposals(env: gym.Env[Any, Any]) -> Proposals:
        return METHODS[options.method](env.unwrapped.problem, options)  # type: ignore[attr-defined]

    return run_search(options.method, options, proposals)
