"""A network in integers: which grids its tensors get."""

import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError
from adrl_gym.layers import ActivationGrid, set_input_grid
from exported import Model


def grids(model: Model) -> list[tuple[float, int]]:
    """Scale and zero point of each tensor on a grid, in order."""
    graph = model.quantized.integer_network(model.images).program.graph
    return [tuple(node.args[1:]) for node in graph.nodes if "on_grid" in str(node.target)]


@pytest.fixture
def model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Conv2d(3, 4, 3)
        first.weight.data *= 20
        parts = nn.ReLU6(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3), nn.Flatten()
        return Model(nn.Sequential(first, *parts), (8, 8), torch.randn(40, 3, 8, 8))


def test_grids_end_where_activations_clamp_and_moved_values_share_them(model: Model) -> None:
    images, clamped, pooled, output = grids(model)
    assert clamped == pooled
    assert clamped == pytest.approx((6 / 255, 0))
    assert images[1] > 0
    assert output[1] > 0


def test_an_input_keeps_the_grid_that_it_has(model: Model) -> None:
    with torch.no_grad():
        before = model.network(model.images)  # (N, K)
    set_input_grid(model.network.get_submodule("3"), ActivationGrid(8, 0.01, 0))
    set_input_grid(model.network.get_submodule("0"), ActivationGrid(4, 0.5, 8))
    images, clamped, pooled, _ = grids(model)
    assert clamped == pooled
    assert clamped == pytest.approx((0.01, 0))
    assert images[0] < 0.1, "8 bits"
    set_input_grid(model.network.get_submodule("3"), None)
    set_input_grid(model.network.get_submodule("0"), None)
    with torch.no_grad():
        assert torch.equal(model.network(model.images), before), "the network is left as it is"


def test_simulation_differs_by_rounding_alone(model: Model) -> None:
    with torch.no_grad():
        expected = model.network(model.images)  # (N, K)
        found = model.quantized.simulate(model.images)(model.images[:7])  # (7, K)
    torch.testing.assert_close(found, expected[:7], atol=0.05 * float(expected.std()), rtol=0)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x.flatten(1))  # (B, 3)
        return y if x.isfinite().all() else -y


@pytest.mark.filterwarnings("ignore:torch.fx cannot partition Branching")
def test_a_network_that_cannot_be_traced_is_named() -> None:
    model = Model(Branching(), (2,), torch.randn(5, 3, 2, 2))
    with pytest.raises(AdrlGymError, match=r"Branching cannot run in integers: torch.export cannot trace it \(.*\)"):
        model.quantized.simulate(model.images)
