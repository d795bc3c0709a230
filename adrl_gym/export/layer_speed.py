"""Latency of single layers in onnxruntime, for lookup tables of one's own hardware."""

import json
import math
import platform
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from adrl_gym.costs import FLOAT_BITS, TableRow
from adrl_gym.export.extras import import_extra
from adrl_gym.export.layer_graphs import layer_model
from adrl_gym.export.onnx_weights import reads_int2
from adrl_gym.layers import LayerSpec, is_quantizable, quantizable
from adrl_gym.progress import bar

ACTIVATION_BITS = 8
_KINDS = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
_EDGES = {"ReorderInput", "ReorderOutput", "Transpose"}  # of layouts; between layers of a whole network there are none


@dataclass(frozen=True)
class LayerSpeedOptions:
    """Settings of the measurement.

    Attributes:
        rounds: turns of all bit-widths, beside one to warm up.
        runs: of all layers in each turn.
        threads: of onnxruntime.
    """

    rounds: int = 20
    runs: int = 5
    threads: int = 1


_DEFAULT = LayerSpeedOptions()


def widths_measured() -> tuple[int, ...]:
    """Return the weight bits that are measured: float, and those that the installed onnxruntime stores."""
    return (FLOAT_BITS, 8, 4, *((2,) if reads_int2() else ()))


def measure_layers(
    network: nn.Module, layers: Sequence[LayerSpec], options: LayerSpeedOptions = _DEFAULT
) -> list[TableRow]:
    """Return the rows of all layers: float, and integer weights with uint8 activations.

    Each layer is a model of its own; its time is what onnxruntime's profiler gives for its nodes, without those that
    only change the layout of input and output. At one bit-width the layers run one after the other, as in the whole
    network, so that the processor's caches hold as little of each as they do there, and take turns with the same memory
    for activations. The bit-widths take turns, so that
    all suffer alike from what else the machine does. A row has the median over turns of the mean in a turn.

    Args:
        network: with those layers.
        layers: of distinct signatures, in forward order; convolutions and linear layers.
        options: how often, and threads.

    Raises:
        AdrlGymError: onnx or onnxruntime is not installed, or a layer of another kind.
    """
    runtime, widths = import_extra("onnxruntime"), widths_measured()
    clamped = _clamped_layers(network)
    _share_memory()
    models = {
        (layer.signature, width): layer_model(layer, quantizable(network, layer), width, layer.name in clamped)
        for width in widths
        for layer in layers
    }
    shapes = {layer.signature: layer.input_shape for layer in layers}
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sessions = {
            key: _session(runtime, model, Path(folder) / str(index), options.threads)
            for index, (key, model) in enumerate(models.items())
        }
        feeds = {
            key: {"x": random.integers(0, 200, (1, *shapes[key[0]])).astype(_KINDS[session.get_inputs()[0].type])}
            for key, session in sessions.items()
        }
        with bar("measuring", 1 + options.rounds, "turns") as shown:
            for turn in range(1 + options.rounds):
                for width in widths if turn % 2 else widths[::-1]:
                    ring = [key for key in sessions if key[1] == width]
                    for key in ring * options.runs:
                        sessions[key].run(None, feeds[key])
                shown.update()
        times = {key: _profiled(Path(session.end_profiling()), options) for key, session in sessions.items()}
    name, processor = runtime_name(options.threads), processor_name()
    activations = {width: FLOAT_BITS if width == FLOAT_BITS else ACTIVATION_BITS for width in widths}
    return [
        TableRow(layer.signature, width, activations[width], times[layer.signature, width], math.nan, name, processor)
        for layer in layers
        for width in widths
    ]


def runtime_name(threads: int) -> str:
    """Return the runtime's name, version and threads, as a table's rows have them."""
    return f"onnxruntime {import_extra('onnxruntime').__version__}, {threads} thread{'s' if threads > 1 else ''}"


def processor_name() -> str:
    """Return what the operating system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _clamped_layers(network: nn.Module) -> set[str]:
    """Return the names of the layers after which the network defines a ReLU6 before its next layer."""
    clamped, last = set[str](), ""
    for name, module in network.named_modules():
        if is_quantizable(module):
            last = name
        elif isinstance(module, nn.Hardtanh):  # of which ReLU6 is a kind
            clamped.add(last)
    return clamped


@cache
def _share_memory() -> None:
    """Let sessions of this process that ask for it take activations from one arena, as layers of a network do.

    Memory of their own would be out of the caches whenever it is their turn: MobileNetV2's integer layers took 10 %
    longer than in the network.
    """
    runtime = import_extra("onnxruntime")
    kinds = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, runtime.OrtMemType.DEFAULT
    memory = runtime.OrtMemoryInfo("Cpu", kinds[0], 0, kinds[1])
    runtime.create_and_register_allocator(memory, None)


def _session(runtime: Any, model: bytes, profile: Path, threads: int) -> Any:
    """Return a session that writes what its nodes take to a file whose name begins with ``profile``."""
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.enable_profiling = True
    settings.profile_file_prefix = str(profile)
    settings.add_session_config_entry("session.use_env_allocators", "1")
    # A thread that spins between its runs would take the processor from the next model's.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def _profiled(file: Path, options: LayerSpeedOptions) -> float:
    """Return the milliseconds of a run from onnxruntime's profile, the first turn left out."""
    spent: dict[str, list[float]] = {}  # node -> microseconds of each run
    for event in json.loads(file.read_text(encoding="utf-8")):
        ran = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if ran and event["args"]["op_name"] not in _EDGES:
            spent.setdefault(event["name"], []).append(event["dur"])
    runs = np.array(list(spent.values())).sum(axis=0)[options.runs :]  # (rounds * runs,)
    turns = runs.reshape(options.rounds, options.runs).mean(axis=1)  # (rounds,)
    return statistics.median(turns.tolist()) / 1000
