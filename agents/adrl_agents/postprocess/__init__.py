"""Commands that continue from a run's folder."""

from adrl_agents.postprocess.finetune_run import FinetuneFolder, FinetuneWandbLogger
from adrl_agents.postprocess.load_run import Run, RunOptions, load_run
from adrl_agents.postprocess.weights import Made, quantized_network, recipe_file

__all__ = [
    "FinetuneFolder",
    "FinetuneWandbLogger",
    "Made",
    "Run",
    "RunOptions",
    "load_run",
    "quantized_network",
    "recipe_file",
]
