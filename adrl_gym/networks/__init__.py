"""The named networks and their trained weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.networks.checkpoints import SHIPPED, content_hash, fill, load_checkpoint
from adrl_gym.networks.cifarnet import cifarnet
from adrl_gym.networks.imagenet import alexnet, download, resnet50
from adrl_gym.networks.resnet import resnet20

__all__ = ["NETWORKS", "LoadedNetwork", "NetworkSpec", "find_network", "load_network"]


@dataclass(frozen=True)
class NetworkSpec:
    """A network that can be asked for by name.

    Attributes:
        name: for example ``resnet20``.
        make: builds it with random weights.
        dataset: what its weights were trained on.
        classes: its outputs.
    """

    name: str
    make: Callable[[], nn.Module]
    dataset: Literal["cifar10", "imagenet"]
    classes: int


NETWORKS = {
    spec.name: spec
    for spec in (
        NetworkSpec("resnet20", resnet20, "cifar10", 10),
        NetworkSpec("cifarnet", cifarnet, "cifar10", 10),
        NetworkSpec("alexnet", alexnet, "imagenet", 1000),
        NetworkSpec("resnet50", resnet50, "imagenet", 1000),
    )
}


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with trained weights.

    Attributes:
        network: float32, in evaluation mode.
        name: its name in ``NETWORKS``.
        checkpoint: content hash of its weights.
    """

    network: nn.Module
    name: str
    checkpoint: str


def find_network(name: str) -> NetworkSpec:
    """The network of that name.

    Raises:
        AdrlGymError: there is none.
    """
    if name not in NETWORKS:
        raise AdrlGymError(f"unknown network {name!r}: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def load_network(name: str, weights: str | Path | None = None) -> LoadedNetwork:
    """A named network with the weights of a file, or else those that ship with the package or torchvision.

    Raises:
        AdrlGymError: no such network; a weights file that is missing, damaged or of another network; a
            download that fails.
    """
    spec = find_network(name)
    network = spec.make()
    state, source = _state(spec, weights)
    fill(network, state, source)
    return LoadedNetwork(network.eval(), name, content_hash(network.state_dict()))


def _state(spec: NetworkSpec, weights: str | Path | None) -> tuple[dict[str, Tensor], str]:
    if weights is not None:
        return load_checkpoint(weights).state, f"weights file {weights}"
    if spec.dataset == "imagenet":
        return download(spec.name), f"torchvision's checkpoint of {spec.name}"
    path = SHIPPED / f"{spec.name}.safetensors"
    return load_checkpoint(path).state, f"weights file {path}"
