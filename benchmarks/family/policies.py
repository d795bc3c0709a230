"""Train a policy of each design on the family, without the networks that are held out.

    python -m benchmarks.family.policies --data-root D --weights F

The same as ``adrl-gym pretrain`` with the settings of each design; ablations hide part of what the policy sees, or
learn from few networks. Writes a folder DESIGN-sSEED with policy.zip for each; a second call goes on with what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from adrl_agents.pretrain import PretrainOptions, pretrain_policy, problems_of
from adrl_gym.problem import QuantProblem
from benchmarks.family.ablations import KNAPSACK, SENSITIVITIES, hiding
from benchmarks.family.networks import FAMILY, UNSEEN

_NETWORKS = Path(__file__).with_name("networks.py")
#: Name -> what differs from the defaults of ``adrl-gym pretrain``.
DESIGNS: dict[str, dict[str, Any]] = {
    "bits": {"decision": "bits"},
    "offset": {"decision": "offset", "sigma": 0.15},  # a random offset of a bit is far from good
    "correction": {"decision": "correction"},
    "interactions": {"decision": "interactions"},
}
#: The same, of one design with something taken away or changed.
ABLATED: dict[str, dict[str, Any]] = {
    "interactions-k3": {"decision": "interactions", "k": 3},
    "interactions-no-sensitivity": {"decision": "interactions"},
    "interactions-no-knapsack": {"decision": "interactions"},
    "interactions-3-networks": {"decision": "interactions"},
    "interactions-untrained": {"decision": "interactions", "episodes": 1},  # in the warm-up, before anything is learned
}
HIDDEN = {"interactions-no-sensitivity": SENSITIVITIES, "interactions-no-knapsack": KNAPSACK}
FEW = {"interactions-3-networks": ("plain8", "resnet16", "separable14")}


@dataclass
class PolicyOptions:
    """Options of every training of a policy on the family."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    weights: Path = Path("runs/family")
    """Folder of the networks' weights."""
    output: Path = Path("runs/family/policies")
    """Folder of the policies' folders."""
    episodes: int = 600
    """Bit configurations to try."""


@dataclass
class Options(PolicyOptions):
    """Options of the trainings."""

    designs: tuple[str, ...] = tuple(DESIGNS)
    """Names of designs or ablations."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each."""


def seen_networks(weights: Path, names: Sequence[str] = tuple(FAMILY)) -> tuple[str, ...]:
    """Return the networks that have weights and are not held out, as ``adrl-gym pretrain`` takes them."""
    seen = [name for name in names if name not in UNSEEN and (weights / f"{name}.safetensors").exists()]
    return tuple(f"{_NETWORKS}:{name}" for name in seen)


def training(options: Options, design: str, seed: int) -> PretrainOptions:
    """Return the options of one training, on the networks that have weights and are not held out."""
    settings: dict[str, Any] = {"episodes": options.episodes, **{**DESIGNS, **ABLATED}[design]}
    return PretrainOptions(
        networks=seen_networks(options.weights, FEW.get(design, tuple(FAMILY))),
        weights=options.weights,
        data="cifar10",
        data_root=options.data_root,
        seed=seed,
        output=options.output / f"{design}-s{seed}",
        resume=True,
        **settings,
    )


def main(options: Options) -> None:
    """Train what is missing; trainings on the same networks share their problems, which take a while to make."""
    made: dict[tuple[str, ...], list[QuantProblem]] = {}
    for seed in options.seeds:
        for design in options.designs:
            print(f"{design}, seed {seed}", flush=True)
            training_options = training(options, design, seed)
            networks = training_options.networks
            if networks not in made:
                made[networks] = problems_of(training_options)
            hidden = hiding(HIDDEN[design]) if design in HIDDEN else None
            pretrain_policy(training_options, hidden, made[networks])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
