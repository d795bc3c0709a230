"""Check a table of this machine's latency against whole networks in onnxruntime.

    python -m benchmarks.hardware.latency

Builds the table of ResNet20 (CIFAR-10) and of torchvision's MobileNetV2 with random weights (224 pixels), and replaces
benchmarks/results/latency_check.csv. Checks float, 8-bit weights, and 8-bit activations with the most weight bits of a
latency budget of half of float's; each quantized file runs in turns with a float one. Nothing
else should run on the machine.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
import tyro
from torch import nn

from adrl_agents.runs import write_rows
from adrl_gym.datasets import own_splits
from adrl_gym.export import LayerSpeedOptions, Prediction, SpeedOptions, build_table, check_table
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem

_RESULTS = Path(__file__).parents[1] / "results"
_BUDGET = 0.5  # of float's latency


@dataclass
class Options:
    """Options of the check."""

    table: Path = Path("runs/benchmarks/latency.csv")
    """The table; a network that it has is not measured again."""
    results: Path = _RESULTS
    """Folder of latency_check.csv."""
    runs: int = 100
    """Runs of each layer and of each network."""
    threads: int = 1
    """Threads of onnxruntime."""


def main(options: Options) -> None:
    """Write latency_check.csv."""
    found: list[Prediction] = []
    layer_speed = LayerSpeedOptions(rounds=max(options.runs // 5, 1), threads=options.threads)
    options.table.parent.mkdir(parents=True, exist_ok=True)
    for network, name, size in ((resnet(), "resnet20", 32), (random_mobilenet(), "mobilenet_v2", 224)):
        images = torch.rand(2, 3, size, size)  # (N, C, H, W)
        splits = own_splits([(images, torch.zeros(2, dtype=torch.long))])
        plain = QuantProblem(network, splits, quantizer="linear", budget=1.0, bits=(8, 8), name=name)
        table = build_table(plain.network, plain.layers, options.table, layer_speed)
        integers = QuantProblem(
            network,
            splits,
            quantizer="linear",
            budget={"latency": _BUDGET},
            cost_table=options.table,
            activations=8,
            name=name,
        )
        for problem in (plain, integers):
            quantized = problem.quantized(problem.project((8,) * len(problem.layers)))
            speed = SpeedOptions(options.runs, 3, options.threads)
            found += check_table(table, quantized, problem.layers, speed)
            print(*(f"{case.network}: {case.error:+.1%}" for case in found[-2:]), sep="\n", flush=True)
    rows = [{name: v if isinstance(v, str) else f"{v:.4f}" for name, v in asdict(case).items()} for case in found]
    write_rows(options.results / "latency_check.csv", rows)


def resnet() -> nn.Module:
    """The shipped ResNet20."""
    return load_network("resnet20").network


def random_mobilenet() -> nn.Module:
    """MobileNetV2 with random weights; latency depends on none."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.mobilenet_v2()
    return network.eval()


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
