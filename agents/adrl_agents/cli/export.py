"""Write the network that a search found to a small file.

Either bit-packed, for PyTorch, or ONNX.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adrl_agents.postprocess import Recipe, RunOptions, load_run, quantized_network
from adrl_gym.errors import AdrlGymError
from adrl_gym.export import (
    ExportSizes,
    LinearLayers,
    Opset,
    compare_speed,
    half_precision,
    integer_operators,
    packed_layers,
    save_integer_onnx,
    save_onnx,
    save_packed,
)
from adrl_gym.layers import input_grids

_FILES = {"packed": "packed.safetensors", "onnx": "network.onnx"}


@dataclass(frozen=True, kw_only=True)
class ExportOptions(RunOptions):
    """Options of the export."""

    format: Literal["packed", "onnx"]
    """packed: weights at their own widths, for PyTorch; onnx: INT2, INT4 and INT8 weights, for other runtimes."""
    recipe: Literal["auto"] | Recipe = "auto"
    """Which weights: direct (every layer quantized by itself), refit, finetuned, or auto: direct or refit by the lower
    KL divergence on the search images, but finetuned where their accuracy there is no lower."""
    activations: Literal["float", 8] | None = None
    """Activations in the ONNX file: 8 bits, which runtimes compute with integers and so faster, or float. Without it,
    8 bits where the search had quantized activations. Those that it had not are calibrated on its search images."""
    opset: Opset | None = None
    """Opset of the ONNX file: 21, or 25, in which 1 and 2 bits take 2 bits instead of 4. Without it, 25 where a layer
    has so few bits and the installed onnxruntime reads such a file, else 21."""
    linear: LinearLayers = "float"
    """Linear layers of the ONNX file: float, as any runtime reads them, or nbits, which lets onnxruntime's MatMulNBits
    compute those that it computes faster on this machine, with inputs rounded to 8 bits."""
    half: bool = True
    """Store scales, biases and norms of a packed file in float16, where the predictions on the search images stay."""
    output: Path | None = None
    """The file; without it, packed.safetensors or network.onnx in the run's folder."""


OPTIONS = ExportOptions


def main(options: ExportOptions) -> ExportSizes:
    """Write one file from one run; return its sizes."""
    if options.format == "packed" and options.activations is not None:
        raise AdrlGymError("--activations is for --format onnx: a packed file holds what the search had; leave it out")
    if options.linear == "nbits" and options.format == "packed":
        raise AdrlGymError("--linear is for --format onnx: leave it out")
    run = load_run(options)
    problem, file = run.problem, options.output or run.folder.path / _FILES[options.format]
    network, recipe, why = quantized_network(run, options.recipe)
    if why:
        print(why)
    if options.format == "packed":
        stored = half_precision(network, problem.splits.search.images) if options.half else network
        sizes = save_packed(file, stored)
        print(f"{file} ({recipe} weights): {sizes}")
        if stored is not network:
            print("scales, biases and norms are in float16: the predictions on the search images stay")
        return sizes
    images = problem.splits.search.images
    integers = bool(input_grids(network.network)) if options.activations is None else options.activations == 8
    if integers and options.linear == "nbits":
        raise AdrlGymError("--linear nbits is for float activations: add --activations float, or leave it out")
    with tempfile.TemporaryDirectory() as temporary:
        float_file = Path(temporary) / "float.onnx"
        if integers:
            sizes = save_integer_onnx(file, network, images, options.opset, float_file)
        else:
            sizes = save_onnx(file, network, images, options.opset, float_file, options.linear)
        print(f"{file} ({recipe} weights{', activations of 8 bits' if integers else ''}): {sizes}")
        if integers:
            print(integer_operators(file))
        if options.linear == "nbits":
            print(f"MatMulNBits computes: {', '.join(packed_layers(file)) or 'no layer, as none was faster'}")
        print(f"speed: {compare_speed(float_file, file, images[:1])}")
    return sizes
