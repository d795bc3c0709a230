"""Distil images from a network of your own.

A search on them needs no real image:

    adrl-gym distill --network FILE.py:FACTORY --output FILE.npz
    adrl-gym adrl --network FILE.py:FACTORY --data FILE.npz

Works for networks with batch norm. Resumable: the same command goes on where an interrupted one stopped.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from adrl_agents.options import picked_output
from adrl_gym.datasets import Distillation, distill
from adrl_gym.devices import check_device
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import load_network


@dataclass(frozen=True, kw_only=True)
class DistillOptions(Distillation):
    """Options of the distillation."""

    network: str
    """torchvision:NAME, timm:NAME, FILE.py:FACTORY (a function without arguments), or a name as resnet20."""
    output: Path
    """The .npz file to write."""
    weights: Path | None = None
    """File of the network's weights (safetensors, torch.save), instead of its library's own."""
    mean: tuple[float, ...] = ()
    """Mean of each channel that the network's images are normalised by, of pixels from 0 to 1."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, likewise; without both, those that the network names."""
    logits: str | None = None
    """Key, attribute or index of the network's output that holds the logits, where it returns more."""
    device: str = "cpu"
    """Device that the network runs on; auto takes CUDA where there is one."""


OPTIONS = DistillOptions


def main(options: DistillOptions) -> None:
    """Make one data-free set."""
    options.check()
    if "," in options.device:
        raise AdrlGymError(f"device must be a single one, got {options.device}: name one", parameter="device")
    device = check_device(options.device)[0]
    if options.output.suffix != ".npz":
        raise AdrlGymError(f"output must end in .npz, got {options.output}", parameter="output")
    if options.output.exists():
        raise AdrlGymError(f"{options.output} exists already: remove it, or choose another file", parameter="output")
    loaded = load_network(options.network, options.weights).normalised(options.mean, options.std)
    loaded = loaded.with_output(picked_output(options.logits))
    distill(loaded, options.output, options, device=device, progress=sys.stderr.isatty())
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {options.images:,} images, {size:.2f} MB; to search on them:")
    weights = "" if options.weights is None else f" --weights {options.weights}"
    logits = "" if options.logits is None else f" --logits {options.logits}"
    print(f"--network {options.network}{weights}{logits} --data {options.output}")
