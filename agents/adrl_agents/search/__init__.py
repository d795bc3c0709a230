"""Run one search: the loop, its state, its log and its options."""

from adrl_agents.search.run import exit_status, make_env, run_command_line, run_search
from adrl_agents.search.wandb import import_wandb, start_run, where

__all__ = ["exit_status", "import_wandb", "make_env", "run_command_line", "run_search", "start_run", "where"]
