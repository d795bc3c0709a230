"""Make the data-free set that ships for a network, from its shipped checkpoint alone.

    python -m benchmarks.experiments.datafree_sets --network resnet20

The method, and how it goes on after an interruption, are in adrl_gym/datasets/distill.py; the settings of the sets that
ship are the defaults here.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from adrl_gym.datasets import DATAFREE_FOLDER, Distillation, distill, load_datafree
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import load_network


@dataclass(frozen=True, kw_only=True)
class Options(Distillation):
    """Options of the distillation."""

    network: Literal["resnet20", "cifarnet"]
    """The network whose shipped checkpoint is distilled."""
    images: int = 1000
    """Number of images."""
    batch_size: int = 250
    """Images whose statistics are matched together."""
    output: Path = DATAFREE_FOLDER
    """Folder of the .npz file; the default is the one that ships."""
    threads: int = 0
    """CPU threads; 0 is PyTorch's choice."""


def main(options: Options) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    loaded = load_network(options.network)
    path = options.output / f"{options.network}.npz"
    distill(loaded, path, options, progress=sys.stderr.isatty())
    images = load_datafree(path, loaded.checkpoint)
    print(f"{path}: {len(images):,} images, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"distill: {error}", file=sys.stderr)
        sys.exit(2)
