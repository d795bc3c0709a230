"""Search bit-widths with an agent of Stable-Baselines3.

Their code is untouched: they are baselines for HAQ and ADRL.
"""

from adrl_agents.options import SB3Options
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = SB3Options


def main(options: SB3Options) -> SearchResult:
    """Run one search with ``options.algo``."""
    return run_search(options.algo, options)
