"""Speed of ONNX files in onnxruntime, measured side by side."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from adrl_gym.export.extras import import_extra


@dataclass(frozen=True)
class SpeedOptions:
    """Settings of the measurement.

    Attributes:
        runs: timed runs of each file, at least 1.
        warmup: runs of each file before that.
        threads: of onnxruntime.
    """

    runs: int = 20
    warmup: int = 3
    threads: int = 2


@dataclass(frozen=True)
class Speed:
    """Milliseconds of one run, medians over runs that alternate between the two files.

    Attributes:
        float_ms: of the float file.
        quantized_ms: of the quantized one.
        batch: images a run.
        threads: of onnxruntime.

    >>> print(Speed(float_ms=2.0, quantized_ms=2.5, batch=1, threads=2))
    float network 2.00 ms, file 2.50 ms (onnxruntime, batch 1, 2 threads): 0.80 times as fast as the float one
    """

    float_ms: float
    quantized_ms: float
    batch: int
    threads: int

    @property
    def factor(self) -> float:
        """Speed of the quantized file over the float file's; above 1 where it is faster."""
        return self.float_ms / self.quantized_ms

    def __str__(self) -> str:
        return (
            f"float network {self.float_ms:.2f} ms, file {self.quantized_ms:.2f} ms (onnxruntime, batch {self.batch}, "
            f"{self.threads} threads): {self.factor:.2f} times as fast as the float one"
        )


_DEFAULT = SpeedOptions()


def compare_speed(float_file: str | Path, file: str | Path, images: Tensor, options: SpeedOptions = _DEFAULT) -> Speed:
    """Run two ONNX files in turn on one batch and time them.

    Both suffer alike from what else the machine does. The order within a pair of runs changes from pair to pair.

    Args:
        float_file: as ``save_onnx`` writes it, of the float network.
        file: of the quantized network.
        images: float32 ``(B, C, H, W)``.
        options: runs and threads.

    Raises:
        AdrlGymError: onnxruntime is not installed.
    """
    runtime = import_extra("onnxruntime")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    # Threads spin within a run, as by default; between runs they would take the processor from the other file's.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    sessions = [
        runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"]) for path in (float_file, file)
    ]
    feed = {"images": images.numpy()}
    seconds: list[list[float]] = [[], []]
    for turn in range(options.warmup + options.runs):
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            sessions[which].run(None, feed)
            if turn >= options.warmup:
                seconds[which].append(time.perf_counter() - start)
    float_ms, quantized_ms = (1000 * statistics.median(times) for times in seconds)
    return Speed(float_ms, quantized_ms, batch=len(images), threads=options.threads)
