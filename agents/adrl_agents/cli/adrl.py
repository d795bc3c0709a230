"""Search bit-widths with ADRL.

The actor proposes k candidates for a layer, and an indicator chooses among them.
"""

from adrl_agents.options import ADRLOptions
from adrl_agents.runs import SearchResult
from adrl_agents.search import run_search

OPTIONS = ADRLOptions


def main(options: ADRLOptions) -> SearchResult:
    """Run one search with ADRL."""
    return run_search("adrl", options)
