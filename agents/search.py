"""Search bit-widths without learning: uniform, random, greedy, integer programming, TPE, local, exhaustive.

With --from RUN there is no new search: a run's memo, configurations and agent answer for another --budget; for its
options: --from RUN --help.
"""

import sys
from typing import Any

import gymnasium as gym

from adrl_agents.baselines import METHODS, Proposals
from adrl_agents.options import SearchOptions
from adrl_agents.postprocess import new_budget
from adrl_agents.runs import SearchResult
from adrl_agents.search import exit_status, run_command_line, run_search


def main(options: SearchOptions) -> SearchResult:
    """One search with ``options.method``."""

    def proposals(env: gym.Env[Any, Any]) -> Proposals:
        return METHODS[options.method](env.unwrapped.problem, options)  # type: ignore[attr-defined]

    return run_search(options.method, options, proposals)


def command_line(arguments: list[str]) -> int:
    """The exit status of a search, or of an answer from a run."""
    if not any(argument.partition("=")[0] == "--from" for argument in arguments):
        return run_command_line(main, SearchOptions, __doc__)
    refused = exit_status(lambda: new_budget.refuse_options_of_the_run(arguments))
    return refused or run_command_line(new_budget.answer, new_budget.NewBudgetOptions, new_budget.__doc__)


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
