"""Lookup tables of this machine's latency: build one, and check what it predicts against whole networks."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from adrl_gym.costs import FLOAT_BITS, CostTable
from adrl_gym.errors import AdrlGymError
from adrl_gym.export.layer_speed import ACTIVATION_BITS, LayerSpeedOptions, measure_layers, processor_name, runtime_name
from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.onnx_integer_file import save_integer_onnx
from adrl_gym.export.onnx_speed import SpeedOptions, compare_speed
from adrl_gym.files import write_whole
from adrl_gym.layers import LayerSpec
from adrl_gym.quantization import QuantizedNetwork

_DEFAULT = LayerSpeedOptions()
_IMAGES = 4  # random ones, to calibrate on; latency depends on none


def build_table(
    network: nn.Module, layers: Sequence[LayerSpec], file: str | Path, options: LayerSpeedOptions = _DEFAULT
) -> CostTable:
    """Measure each distinct layer of a network in onnxruntime, and add its rows to a table.

    The file is written once, whole. Layers that it has already keep their rows, so a table may serve several networks,
    and a call for a network that it has does nothing.

    Args:
        network: float32.
        layers: of it, in forward order.
        file: the CSV file; see ``CostTable``.
        options: of the measurement.

    Raises:
        AdrlGymError: a file of another processor, runtime or number of threads; a layer that cannot be measured; a
            place that cannot be written.
    """
    path = Path(file)
    table = CostTable.load(path) if path.exists() else CostTable((), str(path))
    here = runtime_name(options.threads), processor_name()
    for row in table.rows:
        if (row.runtime, row.processor) != here:
            raise AdrlGymError(
                f"{path} is of {row.runtime} on {row.processor}, and this is {here[0]} on {here[1]}: "
                "measurements of two machines do not belong into one table, so choose another file",
                parameter="output",
            )
    known, distinct = {row.layer for row in table.rows}, {layer.signature: layer for layer in layers}
    if distinct.keys() <= known:
        return table
    rows = measure_layers(network, list(distinct.values()), options)  # all, as they run in the network
    table = CostTable((*table.rows, *(row for row in rows if row.layer not in known)), table.name)
    write_whole(path, table.to_csv().encode())
    return table


@dataclass(frozen=True)
class Prediction:
    """Latency of a whole network.

    Attributes:
        network: its name and bits.
        predicted_ms: sum over its layers' entries of a table.
        measured_ms: of one image in onnxruntime, the median of runs.
    """

    network: str
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """Prediction over measurement, less 1."""
        return self.predicted_ms / self.measured_ms - 1


def check_table(
    table: CostTable, quantized: QuantizedNetwork, layers: Sequence[LayerSpec], options: SpeedOptions
) -> list[Prediction]:
    """Compare predictions with whole networks in onnxruntime: in float, and with integer weights.

    A network whose inputs of layers are quantized becomes a file of ``save_integer_onnx``, any other one of
    ``save_onnx``.

    Args:
        table: of this machine.
        quantized: the network with quantized weights; its activations are float, or of 8 bits.
        layers: of it, in forward order.
        options: runs and threads; the files take turns.

    Raises:
        AdrlGymError: the table lacks layers; an ONNX file that cannot be made.
    """
    name, bits = quantized.origin.name, quantized.bits.for_layers([layer.name for layer in layers])
    integers = bool(quantized.input_grids)
    predicted = [
        table.milliseconds(layers, None),
        table.milliseconds(layers, bits, ACTIVATION_BITS if integers else FLOAT_BITS),
    ]
    images = torch.rand(_IMAGES, *layers[0].input_shape)  # (N, C, H, W)
    save = save_integer_onnx if integers else save_onnx
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        save(files[1], quantized, images, float_file=files[0])
        speed = compare_speed(*files, images[:1], options)
    widths = f"{min(bits)} to {max(bits)}" if min(bits) < max(bits) else f"{max(bits)}"
    activations = f", {ACTIVATION_BITS}-bit activations" if integers else ""
    cases = f"{name}, float", f"{name}, {widths}-bit weights{activations}"
    measured = speed.float_ms, speed.quantized_ms
    return [Prediction(*row) for row in zip(cases, predicted, measured, strict=True)]
