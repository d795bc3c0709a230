"""Train a policy of each design on the family, without the networks that are held out.

    python -m benchmarks.family.policies --data-root D --weights F

The same as ``adrl-gym pretrain`` with the settings of each design. Writes a folder DESIGN-sSEED with policy.zip for
each; a second call goes on with what is left.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from adrl_agents.pretrain import PretrainOptions, pretrain_policy
from benchmarks.family.networks import FAMILY, UNSEEN

_NETWORKS = Path(__file__).with_name("networks.py")
#: Name -> what differs from the defaults of ``adrl-gym pretrain``.
DESIGNS: dict[str, dict[str, Any]] = {
    "bits": {"decision": "bits"},
    "offset": {"decision": "offset"},
    "correction": {"decision": "correction"},
    "correction-k3": {"decision": "correction", "k": 3},
}


@dataclass
class Options:
    """Options of the trainings."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    weights: Path = Path("runs/family")
    """Folder of the networks' weights."""
    output: Path = Path("runs/family/policies")
    """Folder of the policies' folders."""
    designs: tuple[str, ...] = tuple(DESIGNS)
    """Names of designs."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of each."""
    episodes: int = PretrainOptions.episodes
    """Bit configurations to try."""


def training(options: Options, design: str, seed: int) -> PretrainOptions:
    """Return the options of one training, on the networks that have weights and are not held out."""
    names = [name for name in FAMILY if name not in UNSEEN]
    return PretrainOptions(
        networks=tuple(f"{_NETWORKS}:{n}" for n in names if (options.weights / f"{n}.safetensors").exists()),
        weights=options.weights,
        data="cifar10",
        data_root=options.data_root,
        episodes=options.episodes,
        seed=seed,
        output=options.output / f"{design}-s{seed}",
        resume=True,
        **DESIGNS[design],
    )


def main(options: Options) -> None:
    """Train what is missing."""
    for seed in options.seeds:
        for design in options.designs:
            print(f"{design}, seed {seed}", flush=True)
            pretrain_policy(training(options, design, seed))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
