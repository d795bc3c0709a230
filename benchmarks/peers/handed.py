"""The files handed to another tool and back: the network and images in, one JSON file of results out.

Runs in the tool's own environment, so it imports PyTorch alone.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

BATCH = 50  # calibration images at once
_TEST_BATCH = 500


@dataclass(frozen=True)
class Handed:
    """One task for a tool.

    Attributes:
        network: float, in evaluation mode, a ``torch.fx.GraphModule``.
        calibration: images ``(N, C, H, W)``, normalised; without labels.
        test: images ``(M, C, H, W)``, normalised.
        labels: of the test images, ``(M,)``.
        bits: average bits over all weights of convolutions and linear layers.
        setting: ``defaults`` or ``best effort``.
    """

    network: nn.Module
    calibration: Tensor
    test: Tensor
    labels: Tensor
    bits: float
    setting: str

    def batches(self) -> Iterator[Tensor]:
        """Calibration images, ``BATCH`` at a time."""
        yield from self.calibration.split(BATCH)


@dataclass(frozen=True)
class PeerOutcome:
    """One quantized network of a tool.

    Attributes:
        network: as the tool left it; takes images, gives logits.
        bits: of each layer's weights, 32 where the tool left them float.
        weights: how many weights each of these layers has.
        method: the functions of the tool that were called, and with which choices.
        scope: ``weights``, or what else the tool quantized.
    """

    network: nn.Module
    bits: dict[str, float]
    weights: dict[str, int]
    method: str
    scope: str = "weights"

    @property
    def average_bits(self) -> float:
        """Average over all weights of convolutions and linear layers, layers that were left float included."""
        total = sum(self.weights.values())
        return sum(self.bits[name] * count for name, count in self.weights.items()) / total


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and linear layers by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def count_weights(network: nn.Module) -> dict[str, int]:
    """Return the number of weights of each convolution and linear layer, biases left out."""
    return {name: module.get_parameter("weight").numel() for name, module in weighted_layers(network).items()}


def percent_right(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the percentage of images ``(M, C, H, W)`` whose largest logit is that of their label ``(M,)``."""
    network.eval()
    right = 0
    with torch.no_grad():
        for x, y in zip(images.split(_TEST_BATCH), labels.split(_TEST_BATCH), strict=True):
            right += int((network(x).argmax(1) == y).sum())  # (B, classes) to (B,)
    return 100 * right / len(labels)


def load(folder: Path) -> Handed:
    """Read the task in a folder: ``task.pt``, of which only files made by ``run.py`` may be read, and ``task.json``."""
    task = torch.load(folder / "task.pt", weights_only=False)
    options = json.loads((folder / "task.json").read_text())
    return Handed(**task, **options)


def run_tool(tool: str, quantize: Callable[[Handed], PeerOutcome]) -> None:
    """Run a tool on the folder that the command line names, and write ``outcome.json`` into it.

    Args:
        tool: the distribution, whose version is told.
        quantize: calls the tool; its time is what is reported, that of loading and testing is not.
    """
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    handed = load(folder)
    before, cpu = time.perf_counter(), time.process_time()
    outcome = quantize(handed)
    seconds, cpu_seconds = time.perf_counter() - before, time.process_time() - cpu
    told = asdict(Told(version(tool), outcome.method, outcome.scope, outcome.average_bits, seconds, cpu_seconds))
    told["test_accuracy"] = percent_right(outcome.network, handed.test, handed.labels)
    told["torch"] = torch.__version__
    told["bits"] = " ".join(f"{bits:g}" for bits in outcome.bits.values())
    (folder / "outcome.json").write_text(json.dumps(told, indent=1))


@dataclass(frozen=True)
class Told:
    """Facts of an outcome, as the JSON file has them."""

    version: str
    method: str
    scope: str
    average_bits: float
    seconds: float
    cpu_seconds: float
