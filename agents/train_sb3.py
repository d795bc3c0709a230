"""Search bit-widths with one of Stable-Baselines3's own agents, untouched: the baselines below HAQ and ADRL."""

import sys

from adrl_agents.options import SB3Options
from adrl_agents.runs import SearchResult
from adrl_agents.sb3 import ACTION_TYPES, make_sb3_agent
from adrl_agents.search import run_command_line, run_search


def main(options: SB3Options) -> SearchResult:
    """One search with ``options.algo``."""
    algo = options.algo
    return run_search(
        algo, options, lambda env: make_sb3_agent(algo, env, options.seed), action_type=ACTION_TYPES[algo]
    )


if __name__ == "__main__":
    sys.exit(run_command_line(main, SB3Options, __doc__))
