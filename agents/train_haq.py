"""Search bit-widths with HAQ: DDPG with truncated-normal exploration and one reward an episode."""

import sys

from adrl_agents import HAQ
from adrl_agents.options import Options
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_command_line, run_search


def main(options: Options) -> SearchResult:
    """One search with HAQ."""
    return run_search("haq", options, lambda env: HAQ("MlpPolicy", env, seed=options.seed))


if __name__ == "__main__":
    sys.exit(run_command_line(main, Options, __doc__))
