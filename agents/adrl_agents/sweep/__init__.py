"""Run a grid of searches, and gather them in one table and one picture."""

from adrl_agents.sweep.on_ray import Driver, perform_on_ray
from adrl_agents.sweep.options import PARETO_BUDGETS, SweepOptions
from adrl_agents.sweep.run import run_sweep
from adrl_agents.sweep.search_task import SearchTask, perform
from adrl_agents.sweep.table import as_text, result_columns

__all__ = [
    "PARETO_BUDGETS",
    "Driver",
    "SearchTask",
    "SweepOptions",
    "as_text",
    "perform",
    "perform_on_ray",
    "result_columns",
    "run_sweep",
]
