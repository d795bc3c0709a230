"""Search bit-widths without learning.

Methods: uniform, random, greedy, integer programming (ip), TPE, local and exhaustive.
"""

from adrl_agents.options import SearchOptions
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = SearchOptions


def main(options: SearchOptions) -> SearchResult:
    """Run one search with ``options.method``."""
    return run_search(options.method, options)
