"""Answer for another budget from a finished run.

There is no new search: the run's cache, configurations and agent are used. All other options are those of the run.
"""

from adrl_agents.postprocess import NewBudgetOptions, answer, refuse_options_of_the_run

OPTIONS = NewBudgetOptions
main = answer
check = refuse_options_of_the_run
