"""Run one search: the loop, its state and its log."""

from adrl_agents.search.environment import make_env
from adrl_agents.search.run import run_search
from adrl_agents.search.wandb import import_wandb, start_run, where

__all__ = ["import_wandb", "make_env", "run_search", "start_run", "where"]
