"""Compiled, pruned, parametrised, lazy, scripted and exported networks, and those that cannot be copied or hashed."""

import threading
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from adrl_gym import AdrlGymError
from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.layers import prepared
from adrl_gym.models import own_network
from adrl_gym.problem import QuantProblem


def conv(change: Any = None) -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).eval()
    if change is not None:
        change(network[0])
    return network


def problem_of(network: nn.Module) -> QuantProblem:
    x = torch.randn(8, 3, 6, 6)
    return QuantProblem(network, Splits(ImageSet(x, torch.zeros(8, dtype=torch.long)), None, "made", "made"))


def compiled_inside() -> nn.Module:
    network = nn.Sequential(conv())
    network._modules["0"] = cast("nn.Module", torch.compile(conv(), backend="eager"))
    return network


def compiled_in_place() -> nn.Module:
    network = nn.Sequential(conv())
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: torch.compile(conv(), backend="eager"), "0"),
        (compiled_inside, "0.0"),
        (compiled_in_place, "0.0"),
    ],
)
def test_compiled_networks_are_unwrapped(make: Any, name: str) -> None:
    network = make()
    problem = problem_of(network)
    assert [layer.name for layer in problem.layers] == [name]
    assert problem.evaluate([8]).kl < 0.1
    assert own_network(network).name == "Sequential"


def test_the_user_s_network_stays_compiled() -> None:
    network = compiled_inside()
    prepared(network)
    assert hasattr(network.get_submodule("0"), "_orig_mod")


def test_what_is_not_compiled_stays_itself() -> None:
    network = conv()
    assert prepared(network) is network


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (parametrizations.weight_norm, "remove_parametrizations"),
        (parametrizations.spectral_norm, "remove_parametrizations"),
        (parametrizations.orthogonal, "remove_parametrizations"),
        (lambda module: prune.l1_unstructured(module, "weight", 0.5), r"prune\.remove"),
        (lambda module: prune.random_structured(module, "weight", 0.5, dim=0), r"prune\.remove"),
        (nn.utils.spectral_norm, "remove_spectral_norm"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_computed_weights_are_told_with_the_remedy(change: Any, remedy: str) -> None:
    with pytest.raises(AdrlGymError, match=f"computed in every pass: call .*{remedy}"):
        problem_of(conv(change))
    mixed = nn.Sequential(nn.Conv2d(3, 3, 1), *conv(change)).eval()
    for parameter in mixed.parameters():
        parameter.requires_grad_(False)
    try:
        note = str(problem_of(mixed).unquantized)
    except AdrlGymError as error:
        note = str(error)
    assert "the weight of module 1 is computed in every pass" in note


class Locked(nn.Module):
    """Holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lock = nn.Conv2d(3, 4, 3), threading.Lock()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).flatten(1)


class Extra(nn.Sequential):
    """Has a state of its own."""

    def get_extra_state(self) -> Any:
        return {"epoch": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def inference() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Locked, "Locked cannot be copied .*lock"),
        (lambda: Extra(nn.Conv2d(3, 4, 3), nn.Flatten()), "_extra_state of Extra's state dict is no tensor but dict"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()), "0.weight of Sequential is lazy"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "1.weight of Sequential is lazy"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)).to("meta"), "0.weight of Sequential is on the device meta"),
        (inference, "0.weight of Sequential was made in torch.inference_mode"),
        (lambda: torch.export.export(conv(), (torch.zeros(1, 3, 6, 6),)).module(), "give the nn.Module it was made"),
        (lambda: torch.jit.trace(conv(), torch.zeros(1, 3, 6, 6)), "is scripted.*give the nn.Module it was made"),
    ],
)
@pytest.mark.parametrize("use", [problem_of, own_network])
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_searched_ends_in_one_error(make: Any, message: str, use: Any) -> None:
    with pytest.raises(AdrlGymError, match=message):
        use(make())
