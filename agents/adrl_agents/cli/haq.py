"""Search bit-widths with HAQ.

DDPG with truncated-normal exploration and one reward for a whole episode.
"""

from adrl_agents.options import Options
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = Options


def main(options: Options) -> SearchResult:
    """Run one search with HAQ."""
    return run_search("haq", options)
