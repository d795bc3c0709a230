"""Search bit-widths with an agent of Stable-Baselines3.

The agents are untouched: they are the baselines below HAQ and ADRL.
"""

from adrl_agents.options import SB3Options
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = SB3Options


def main(options: SB3Options) -> SearchResult:
    """Run one search with ``options.algo``."""
    return run_search(options.algo, options)
