"""Commands that continue from a run's folder."""

from adrl_agents.postprocess.finetune_run import FinetuneFolder
from adrl_agents.postprocess.finetune_trackers import FinetuneTensorboardLogger, FinetuneTracker, FinetuneWandbLogger
from adrl_agents.postprocess.new_budget import NewBudgetOptions, answer, refuse_options_of_the_run
from adrl_agents.postprocess.refitted import RefitOptions, refit_run
from adrl_agents.postprocess.run import LoadedRun, RunOptions, load_run
from adrl_agents.postprocess.weights import Recipe, quantized_network, recipe_file

__all__ = [
    "FinetuneFolder",
    "FinetuneTensorboardLogger",
    "FinetuneTracker",
    "FinetuneWandbLogger",
    "LoadedRun",
    "NewBudgetOptions",
    "Recipe",
    "RefitOptions",
    "RunOptions",
    "answer",
    "load_run",
    "quantized_network",
    "recipe_file",
    "refit_run",
    "refuse_options_of_the_run",
]
