"""Grids of the layers' inputs from images."""

import math

import pytest
import torch
from torch import Tensor, nn

from adrl_gym.activations import ActivationHistogram, ActivationRange, calibrate_activations, choose_grid
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import ActivationGrid, find_layers


def normal(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def histogram(*parts: Tensor) -> ActivationHistogram:
    made = ActivationHistogram()
    for part in parts:
        made.add(part)
    return made


def error(x: Tensor, grid: ActivationGrid) -> float:
    return float((grid.quantize(x) - x).double().square().mean())


def test_the_histogram_grows_with_the_values() -> None:
    parts = [0.001 * normal(1000), normal(1000, 1), torch.tensor([-700.0, 4096.0, 0.0])]
    made = histogram(*parts)
    values, counts = made.values()
    x = torch.cat(parts).double()
    assert (made.lowest, made.highest, made.count) == (float(x.min()), float(x.max()), len(x))
    assert counts.sum() == len(x)
    width = 2 * float(values.diff().min()) if len(values) > 1 else 0.0
    found = values.repeat_interleave(counts.long())  # (N,), rising
    assert float((found - x.sort().values).abs().max()) <= width


def test_a_histogram_of_parts_is_that_of_the_whole() -> None:
    x = normal(5000) * torch.logspace(-3, 3, 5000)
    whole, parts = histogram(x), histogram(*x.split(100))
    for one, other in zip(whole.values(), parts.values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_the_default_has_the_least_squared_error(bits: int, signed: bool) -> None:
    x = normal(4000) + 0.6 if signed else normal(4000).relu()
    grid = choose_grid(histogram(x), bits, "mse")
    assert grid.zero_point == 0 if not signed else 0 < grid.zero_point < 2**bits - 1
    steps = 2**bits - 1
    zero_points = [0] if not signed else range(0, steps + 1, max(1, 2 ** (bits - 5)))
    scales = torch.linspace(0.2, 1.2, 60) * float(x.max() - x.min()) / steps
    best = min(error(x, ActivationGrid(bits, float(scale), zero)) for scale in scales for zero in zero_points)
    assert error(x, grid) <= 1.02 * best


@pytest.mark.parametrize("method", ["mse", "percentile"])
def test_rare_large_values_do_not_take_the_range(method: ActivationRange) -> None:
    x = torch.cat([normal(100_000).relu(), torch.tensor([60.0])])
    grid, whole = (choose_grid(histogram(x), 4, one) for one in (method, "minmax"))
    assert whole.scale == pytest.approx(60 / 15)
    assert grid.scale < 0.1 * whole.scale


def test_the_smallest_and_the_largest_value_are_covered() -> None:
    x = normal(1000) - 1
    grid = choose_grid(histogram(x), 8, "minmax")
    assert float((grid.quantize(x) - x).abs().max()) <= 0.51 * grid.scale + 1e-6
    negative = choose_grid(histogram(-x.abs()), 4, "mse")
    assert negative.zero_point == 15


class Branches(nn.Module):
    """Two layers read the same tensor, one module is used twice, two share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.twice = nn.Conv2d(4, 4, 1)
        self.tied = nn.Conv2d(4, 4, 1)
        self.tied.weight = self.twice.weight
        self.side = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        y = self.left(y) + self.right(y)
        z = self.twice(y) + self.twice(0.5 * y)
        return (self.tied(3 * z) + self.side(x)).mean((2, 3))


def made(seed: int = 0) -> tuple[Branches, Tensor]:
    torch.manual_seed(seed)
    return Branches().eval(), torch.randn(7, 3, 6, 6)


def test_every_layer_has_the_grid_of_what_it_reads() -> None:
    network, images = made()
    layers = find_layers(network, (3, 6, 6))
    names = [layer.name for layer in layers]
    grids = dict(zip(names, calibrate_activations(network, layers, images, bits=4), strict=True))
    stem, left, twice = grids["stem"], grids["left"], grids["twice"]
    assert stem is not None
    assert left is not None
    assert twice is not None
    assert stem.bits == 8  # the images
    assert grids["side"] == stem
    assert left.bits == 4
    assert grids["right"] == left
    with torch.no_grad():
        relu = network.stem(images).relu()
        assert left == choose_grid(histogram(relu), 4, "mse")
        y = network.left(relu) + network.right(relu)
        z = network.twice(y) + network.twice(0.5 * y)
        assert twice == choose_grid(histogram(y, 0.5 * y, 3 * z), 4, "mse")
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_token_ids_are_not_rounded() -> None:
    network = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)).eval()
    tokens = torch.arange(36).reshape(6, 6) % 9
    embedding, linear = calibrate_activations(network, find_layers(network, (6,), torch.int64), tokens, bits=8)
    assert embedding is None
    assert linear is not None


@pytest.mark.parametrize(
    ("bias", "message"),
    [(math.nan, "layer 2: its inputs hold NaN or infinity"), (-1e9, "layer 2: its inputs are all 0, so they have no")],
)
def test_inputs_without_a_range_name_their_layer(bias: float, message: str) -> None:
    first = nn.Linear(4, 4)
    nn.init.constant_(first.bias, bias)
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(AdrlGymError, match=message):
        calibrate_activations(network, find_layers(network, (4,)), torch.randn(6, 4), bits=8)
    assert not network[2]._forward_pre_hooks


def test_what_cannot_be_calibrated_is_refused() -> None:
    network, images = made()
    layers = find_layers(network, (3, 6, 6))
    with pytest.raises(AdrlGymError, match="no images to calibrate activations on"):
        calibrate_activations(network, layers, images[:0], bits=8)
    with pytest.raises(AdrlGymError, match="2 to 8 bits, got 1"):
        calibrate_activations(network, layers, images, bits=1)
    with pytest.raises(AdrlGymError, match="unknown activation_range 'max': choose one of mse, percentile, minmax"):
        calibrate_activations(network, layers, images, bits=8, method="max")  # type: ignore[arg-type]
