"""The named networks and one's own, with trained weights."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import lazy_tensors, materialize, prepared
from adrl_gym.models.checkpoints import SHIPPED, Checkpoint, content_hash, load_checkpoint
from adrl_gym.models.cifarnet import cifarnet
from adrl_gym.models.imagenet import alexnet, default_weights, download, imagenet_preprocessing, resnet50
from adrl_gym.models.own import FORMS, make_own
from adrl_gym.models.preprocessing import CIFAR10, Preprocessing, check_scale, stated_config
from adrl_gym.models.resnet import resnet20
from adrl_gym.models.state_dicts import fill
from adrl_gym.outputs import Output, with_output


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
        name: its name in ``NETWORKS``; of one's own, that of the model, the factory or the class.
        checkpoint: content hash of its weights; empty while lazy modules have none.
        named: whether it is one of ``NETWORKS``.
        statistics: means and variances of its layers' outputs (see ``Checkpoint``); empty where none are known.
        images: how its images are made, where something besides the network says so.
        normalisation: mean and standard deviation of each channel, where the user has said them.
    """

    network: nn.Module
    name: str
    checkpoint: str
    named: bool = True
    statistics: dict[str, Tensor] = field(default_factory=dict)
    images: Preprocessing | None = None
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def normalised(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> "LoadedNetwork":
        """Return the same with images of another normalisation; without one, itself.

        Args:
            mean: of each channel, of pixels from 0 to 1.
            std: standard deviation of each channel, likewise.

        Raises:
            AdrlGymError: one without the other, means above 1, or a named network, whose normalisation is known.
        """
        if not mean and not std:
            return self
        if not mean or not std:
            raise AdrlGymError("mean and std belong together: give both", parameter=("mean", "std"))
        if self.named:
            raise AdrlGymError(
                f"{self.name} has its own normalisation: leave out mean and std", parameter=("mean", "std")
            )
        check_scale(mean, std, "mean")
        return dataclasses.replace(self, normalisation=(tuple(mean), tuple(std)))

    def with_output(self, output: Output | None) -> "LoadedNetwork":
        """Return the same with logits that are a part of the network's output; see ``outputs.with_output``."""
        if output is None:
            return self
        return dataclasses.replace(self, network=with_output(self.network, output))

    @property
    def says_normalisation(self) -> bool:
        """``True`` where the user, the weights or the network say how images are normalised."""
        stated = stated_config(self.network) or {}
        return bool(self.normalisation or self.images) or ("mean" in stated and "std" in stated)

    def preprocessing(self, usual: Preprocessing | None = None) -> Preprocessing:
        """Return how its images are made: what the user, its weights or its own attribute ``pretrained_cfg`` say.

        Args:
            usual: of the data set; stands for what nobody says.

        Raises:
            AdrlGymError: nothing says so; the message shows what to add.
        """
        config = stated_config(self.network)
        if self.images is not None:
            made = self.images
        elif usual is not None and config is None:
            made = usual
        else:
            if isinstance(config, Mapping) and self.normalisation is not None:
                config = {**config, "mean": self.normalisation[0], "std": self.normalisation[1]}
            made = Preprocessing.from_config(config, self.name, usual)
        return made if self.normalisation is None else made.with_normalisation(*self.normalisation)


def find_network(name: str) -> NetworkSpec:
    """The network of that name.

    Raises:
        AdrlGymError: there is none.
    """
    if name not in NETWORKS:
        raise AdrlGymError(f"unknown network {name!r}: choose one of {', '.join(NETWORKS)}, or {FORMS}")
    return NETWORKS[name]


def load_network(name: str, weights: str | Path | None = None) -> LoadedNetwork:
    """A network with the weights of a file, or else those that ship with the package or its library.

    Args:
        name: one of ``NETWORKS``, ``torchvision:NAME``, ``timm:NAME``, or ``FILE.py:FACTORY``: what that function,
            called without arguments, returns. That file is run; files of weights never are.
        weights: a safetensors file, or what ``torch.save`` wrote of a state dict, perhaps with other things beside it.

    Raises:
        AdrlGymError: no such network; a weights file that is missing, damaged or of another network; a
            download that fails.
    """
    given = None if weights is None else load_checkpoint(weights)
    if ":" not in name:
        return _named(find_network(name), given)
    network, images = make_own(name, given)
    if given is not None:
        given.fill(network)
    return own_network(network, name.rpartition(":")[2], images)


def _named(spec: NetworkSpec, given: Checkpoint | None) -> LoadedNetwork:
    network = spec.make()
    if given is None and spec.dataset == "cifar10":
        given = load_checkpoint(SHIPPED / f"{spec.name}.safetensors")
    if given is None:
        fill(network, download(default_weights(spec.name), spec.name), f"torchvision's checkpoint of {spec.name}")
    else:
        given.fill(network)
    return LoadedNetwork(
        network.eval(),
        spec.name,
        content_hash(network.state_dict()),
        statistics={} if given is None else given.statistics,
        images=CIFAR10 if spec.dataset == "cifar10" else imagenet_preprocessing(spec.name),
    )


def own_network(network: nn.Module, name: str | None = None, images: Preprocessing | None = None) -> LoadedNetwork:
    """Any network, as it is; ``name`` is that of its class unless given."""
    network = prepared(network)
    network.eval()
    _materialize_as_said(network)
    checkpoint = "" if lazy_tensors(network) else content_hash(network.state_dict())
    return LoadedNetwork(network, name or type(network).__name__, checkpoint, named=False, images=images)


def _materialize_as_said(network: nn.Module) -> None:
    """Give lazy modules their shapes where ``pretrained_cfg`` says what images come; else the images themselves do."""
    config = stated_config(network)
    if not isinstance(config, Mapping) or "input_size" not in config or not lazy_tensors(network):
        return
    with contextlib.suppress(RuntimeError, ValueError, TypeError, IndexError):  # told when images are there
        materialize(network, torch.zeros(1, *config["input_size"]))
