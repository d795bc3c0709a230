"""Commands that continue from a run's folder."""

from adrl_agents.postprocess.finetune_run import FinetuneFolder
from adrl_agents.postprocess.finetune_trackers import FinetuneTensorboardLogger, FinetuneTracker, FinetuneWandbLogger
from adrl_agents.postprocess.load_run import Run, RunOptions, load_run
from adrl_agents.postprocess.weights import Made, quantized_network, recipe_file

__all__ = [
    "FinetuneFolder",
    "FinetuneTensorboardLogger",
    "FinetuneTracker",
    "FinetuneWandbLogger",
    "Made",
    "Run",
    "RunOptions",
    "load_run",
    "quantized_network",
    "recipe_file",
]
