"""Search bit-widths with Stable-Baselines3's own DDPG, untouched; train_sb3.py has its other agents as well."""

import sys

from adrl_agents.options import Options
from adrl_agents.runs import SearchResult
from adrl_agents.sb3 import make_sb3_agent
from adrl_agents.search import run_command_line, run_search


def main(options: Options) -> SearchResult:
    """One search with DDPG."""
    return run_search("ddpg", options, lambda env: make_sb3_agent("ddpg", env, options.seed))


if __name__ == "__main__":
    sys.exit(run_command_line(main, Options, __doc__))
