"""Compare refitted with direct weights on networks with random weights.

    python -m benchmarks.searches.untrained

MobileNetV2 and ResNet18 of torchvision, whose batch norms have seen random images of 96 x 96 pixels. All layers have
the same bits. The KL divergence from the float network is measured on the images that refitting calibrates on, and on
as many others: of direct weights, of weights calibrated layer after layer, and of those that ``refit`` chooses. A row
of benchmarks/results/untrained.csv is written after each; a second call goes on with what is left.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torchvision
import tyro
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.evaluation import Metrics
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import QuantizedNetwork
from adrl_gym.refit import calibrate, choose_weights
from benchmarks.harness.csv_file import add_row, read_rows
from benchmarks.harness.metric_columns import nats

_RESULTS = Path(__file__).parents[1] / "results"
_SIDE = 96  # pixels


@dataclass
class Options:
    """Options of the comparison."""

    networks: tuple[str, ...] = ("mobilenet_v2", "resnet18")
    """Networks of torchvision."""
    bits: tuple[int, ...] = (4,)
    """Bit-widths, of all layers."""
    images: int = 256
    """Images to calibrate on, and as many to test on."""
    results: Path = _RESULTS
    """Folder of untrained.csv."""


def untrained_problem(name: str, count: int) -> QuantProblem:
    """Return a network with random weights and random images, whose labels are its own predictions."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(8):
            network(_random_images(16))
    network.eval()
    search, test = (_labelled(network, _random_images(count)) for _ in range(2))
    return QuantProblem(network, Splits(search, test, "random images"), quantizer="gptq", name=name)


def _random_images(count: int) -> Tensor:
    """Return smooth ones, ``(count, 3, 96, 96)``: noise from pixel to pixel looks the same to a network."""
    return interpolate(torch.randn(count, 3, 6, 6), size=_SIDE, mode="bicubic")


def _labelled(network: nn.Module, images: Tensor) -> ImageSet:
    with torch.inference_mode():
        return ImageSet(images, network(images).argmax(1).clone())


def compare(problem: QuantProblem, bits: int) -> dict[str, Any]:
    """Return the row of one network and bit-width."""
    whole = (bits,) * len(problem.layers)
    choice = choose_weights(problem, whole)
    networks = {
        "direct": problem.quantized(whole),
        "calibrated": calibrate(problem, whole, problem.splits.search.images),
        "refit": choice.network,
    }
    measured = {name: _measured(problem, network) for name, network in networks.items()}
    return {
        "network": problem.name,
        "bits": bits,
        "images": problem.images,
        "pixels": _SIDE,
        "weights": choice.weights,
        "held_out": choice.held_out,
        "direct_held_out_kl": nats(choice.direct_kl),
        "refit_held_out_kl": nats(choice.refit_kl),
        **{f"{name}_search_kl": nats(search.kl) for name, (search, _) in measured.items()},
        **{f"{name}_test_kl": nats(test.kl) for name, (_, test) in measured.items()},
        **{f"{name}_test_agreement": round(test.agreement, 4) for name, (_, test) in measured.items()},
        "torch": torch.__version__,
        "commit": git_commit(),
    }


def _measured(problem: QuantProblem, network: QuantizedNetwork) -> tuple[Metrics, Metrics]:
    return problem.measure(network), problem.measure(network, "test")


def main(options: Options) -> None:
    """Measure what is missing, each row written when it is known."""
    file = options.results / "untrained.csv"
    known = {(row["network"], row["bits"], row["images"]) for row in read_rows(file)}
    for name, bits in product(options.networks, options.bits):
        if (name, str(bits), str(options.images)) not in known:
            add_row(file, compare(untrained_problem(name, options.images), bits))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
