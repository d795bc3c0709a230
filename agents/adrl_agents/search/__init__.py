"""Run one search: the loop, its state and its log."""

from adrl_agents.search.environment import make_env
from adrl_agents.search.run import check_images, run_search
from adrl_agents.search.tensorboard import add_picture, make_writer
from adrl_agents.search.wandb import import_wandb, start_run, where

__all__ = ["add_picture", "check_images", "import_wandb", "make_env", "make_writer", "run_search", "start_run", "where"]
