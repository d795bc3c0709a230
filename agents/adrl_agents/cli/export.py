"""Write the network that a search found to a small file.

Either bit-packed, for PyTorch, or ONNX.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adrl_agents.postprocess import Recipe, RunOptions, load_run, quantized_network
from adrl_gym.export import ExportSizes, save_onnx, save_packed

_FILES = {"packed": "packed.safetensors", "onnx": "network.onnx"}


@dataclass(frozen=True, kw_only=True)
class ExportOptions(RunOptions):
    """Options of the export."""

    format: Literal["packed", "onnx"]
    """packed: weights at their own widths, for PyTorch; onnx: INT4 and INT8 weights, for other runtimes."""
    recipe: Literal["auto"] | Recipe = "auto"
    """Which weights: direct (every layer quantized by itself), refit, finetuned, or auto: those with the best measured
    accuracy on the search images."""
    output: Path | None = None
    """The file; without it, packed.safetensors or network.onnx in the run's folder."""


OPTIONS = ExportOptions


def main(options: ExportOptions) -> ExportSizes:
    """One file from one run."""
    run = load_run(options)
    problem, file = run.problem, options.output or run.folder.path / _FILES[options.format]
    network, recipe, why = quantized_network(run, options.recipe)
    if why:
        print(why)
    if options.format == "packed":
        sizes = save_packed(file, network)
    else:
        sizes = save_onnx(file, network, problem.splits.search.images)
    print(f"{file} ({recipe} weights): {sizes}")
    return sizes
