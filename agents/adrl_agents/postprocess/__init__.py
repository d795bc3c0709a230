"""Commands that continue from a run's folder."""

from adrl_agents.postprocess.finetune_run import FinetuneFolder, FinetuneTracker
from adrl_agents.postprocess.load_run import Run, RunOptions, rebuild
from adrl_agents.postprocess.weights import Made, quantized_network, recipe_file

__all__ = [
    "FinetuneFolder",
    "FinetuneTracker",
    "Made",
    "Run",
    "RunOptions",
    "quantized_network",
    "rebuild",
    "recipe_file",
]
