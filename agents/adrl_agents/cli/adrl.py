"""Search bit-widths with ADRL.

The actor proposes k candidates for a layer, and an indicator chooses among them.
"""

from typing import Any

import gymnasium as gym

from adrl_agents import ADRL
from adrl_agents.options import ADRLOptions
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = ADRLOptions


def main(options: ADRLOptions) -> SearchResult:
    """Run one search with ADRL."""

    def make_agent(env: gym.Env[Any, Any]) -> ADRL:
        return ADRL(
            "MlpPolicy",
            env,
            k=options.k,
            indicator=options.indicator,
            context=options.context,
            score=options.score,
            profile_images=options.profile_images,
            early_termination=options.early_termination,
            completion=options.completion,
            memoization=options.memoization,
            seed=options.seed,
        )

    return run_search("adrl", options, make_agent)
