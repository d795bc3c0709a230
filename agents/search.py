"""Search bit-widths without learning: uniform, random, greedy, integer programming, TPE, local, exhaustive."""

import sys
from typing import Any

import gymnasium as gym

from adrl_agents.options import SearchOptions
from adrl_agents.runner import run_command_line, run_search
from adrl_agents.searches import METHODS, Proposals
from adrl_gym.result import SearchResult


def main(options: SearchOptions) -> SearchResult:
    """One search with ``options.method``."""

    def proposals(env: gym.Env[Any, Any]) -> Proposals:
        return METHODS[options.method](env.unwrapped.problem, options)  # type: ignore[attr-defined]

    return run_search(options.method, options, proposals)


if __name__ == "__main__":
    sys.exit(run_command_line(main, SearchOptions, __doc__))
