"""Networks that are hard to partition: the engine still computes what they compute."""

import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets.splits import Splits
from adrl_gym.evaluation.runner import SubgraphRunner
from adrl_gym.layers import find_layers
from adrl_gym.models.named import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.qat.loop import finetune
from adrl_gym.qat.settings import Finetuning
from adrl_gym.quantization.sequential import Calibration
from compared import Depends, engines, images, same_as_plain, trained


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "densenet"])
def test_torchvision_s_networks_are_partitioned(name: str) -> None:
    models = torchvision.models
    small = models.DenseNet(growth_rate=8, block_config=(2, 2), num_classes=5)
    network = trained(small if name == "densenet" else models.get_model(name, num_classes=5), (3, 64, 64))
    search = images(8, (3, 64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine, reference, n = engines(network, search, bits=(4, 8))
    ways: list[Bits] = [[8] * n, [8] * (n - 1) + [4], [4] + [8] * (n - 1), [None] * n]
    engine.measure(ways, range(engine.slices))
    for bits in ways:
        expected = reference.logits(search, bits)  # (N, K)
        torch.testing.assert_close(engine.logits(search, bits), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_a_network_that_cannot_be_traced_runs_whole_with_one_warning() -> None:
    network, search = trained(Depends()), images(100)
    with pytest.warns(UserWarning, match="cannot partition Depends") as caught:
        engine, reference, n = engines(network, search)
    assert len(caught) == 1
    for bits in itertools.product((1, 8, None), repeat=n):
        torch.testing.assert_close(engine.logits(search, bits), reference.logits(search, bits), rtol=1e-4, atol=1e-4)


class WritesInPlace(nn.Module):
    """Writes over activations without reading the result; ``way`` says how."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 5)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)  # even over the images
        x = self.conv(x)  # (B, 4, 6, 6)
        if self.way == "module":
            self.relu(x)
        elif self.way == "function":
            F.relu(x, inplace=True)
        elif self.way == "functional":
            F.leaky_relu_(x, 0.5)
        elif self.way == "method":
            x.relu_()
        elif self.way == "added":
            x = self.relu(x) + x  # (B, 4, 6, 6)
        elif self.way == "view":
            flat = x.flatten(1)  # (B, 144)
            x.relu_()
            return self.fc(flat[:, :4])  # (B, 5)
        elif self.way == "name":
            y = x
            y += 1
        return self.fc(x.mean((2, 3)))  # (B, 5)


@pytest.mark.parametrize(
    ("way", "cut"),
    [*((way, True) for way in ("module", "function", "functional", "method", "added")), ("view", False)],
)
def test_what_writes_in_place_is_run_as_it_is_meant(way: str, cut: bool) -> None:
    same_as_plain(trained(WritesInPlace(way)), cut)


def test_another_name_of_what_is_written_over_is_noticed() -> None:
    same_as_plain(trained(WritesInPlace("name")), False)


class Sums(nn.Module):
    """Sums and ReLUs behind a layer; ``way`` says what must not be written over, or what takes more memory."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.other, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)
        self.relu, self.relu6, self.way = nn.ReLU(), nn.ReLU6(), way

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (B, 4, 8, 8)
        if self.way == "kept":
            x = x + self.other(self.relu(x))  # (B, 4, 8, 8)
        elif self.way == "from the right":
            y = F.relu(x)  # (B, 4, 8, 8)
            x = F.relu(input=y + self.other(y))  # (B, 4, 8, 8)
        elif self.way == "itself":
            x = torch.add(x, x).relu()  # (B, 4, 8, 8)
        elif self.way == "wider":
            pooled = self.other(F.adaptive_avg_pool2d(x, 1))  # (B, 4, 1, 1)
            x = self.relu(pooled + x)  # (B, 4, 8, 8)
        elif self.way == "six":
            x = F.relu6(self.relu6(9 * x + self.other(x)) + x)  # (B, 4, 8, 8)
        elif self.way == "number":
            x = torch.relu(x + 0.5).add(self.other(x), alpha=2)  # (B, 4, 8, 8)
        elif self.way == "double":
            x = (x + x.double().mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)).float()  # (B, 4, 8, 8)
        return self.fc(self.relu(x).mean((2, 3)))  # (B, 5)


@pytest.mark.parametrize("way", ["kept", "from the right", "itself", "wider", "six", "number", "double"])
def test_what_is_written_over_is_nobody_else_s(way: str) -> None:
    network = trained(Sums(way))
    same_as_plain(network, True)
    n = len(find_layers(network, (3, 8, 8)))
    search = images(100)
    engine, reference, _ = engines(network, search)
    for bits in itertools.product((2, 8), repeat=n):  # from cached activations, in all orders
        expected = reference.logits(search, bits)  # (N, K)
        torch.testing.assert_close(engine.search_logits([bits])[0], expected, rtol=1e-4, atol=1e-4)


def test_writing_over_changes_not_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    network, search = load_network("resnet20").network, images(100, (3, 32, 32))
    there, _, n = engines(network, search, bits=(2, 4))
    runner = there._runners[0]
    assert isinstance(runner, SubgraphRunner)
    written = "".join(str(segment.run.code) for segment in runner._subgraphs)
    assert written.count("torch.relu_") == 19
    assert written.count("_add_into") == 9
    monkeypatch.setattr("adrl_gym.graph.partition.reinplace", lambda segment: None)
    elsewhere, _, _ = engines(network, search, bits=(2, 4))
    for bits in ([2] * n, [4] * n, [2, 4] * (n // 2)):
        assert torch.equal(there.search_logits([bits]), elsewhere.search_logits([bits]))


def test_a_relu6_is_written_over_too() -> None:
    there, _, _ = engines(trained(Sums("six")), images(20))
    runner = there._runners[0]
    assert isinstance(runner, SubgraphRunner)
    assert "".join(str(segment.run.code) for segment in runner._subgraphs).count("_clamp") == 2


class Standardized(nn.Conv2d):
    """Not linear in its weight (weight standardization, Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias)


class Asks(nn.Module):
    """Takes another way where torch.fx traces it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (B, 4, 6, 6)
        x = x.relu() if isinstance(x, Tensor) else x  # type: ignore[redundant-expr]  # (B, 4, 6, 6)
        return self.fc(x.mean((2, 3)))  # (B, 5)


def pooled(conv: nn.Conv2d) -> nn.Module:
    return nn.Sequential(conv, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def test_a_layer_of_one_s_own_keeps_its_norm() -> None:
    same_as_plain(trained(pooled(Standardized(3, 4, 3))), True)


def test_hooks_are_part_of_the_network() -> None:
    network = trained(pooled(nn.Conv2d(3, 4, 3)))
    network[0].register_forward_hook(lambda _module, _inputs, output: output.square())  # type: ignore[index]
    same_as_plain(network, True)


def test_hooks_of_an_activation_still_run() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)))
    network[1].register_forward_hook(lambda _module, _inputs, output: output + 1)  # type: ignore[index]
    same_as_plain(network, True)


def test_a_network_that_tells_tracing_from_running_runs_whole() -> None:
    same_as_plain(trained(Asks()), False)


def test_a_single_layer_runs_whole() -> None:
    same_as_plain(nn.Linear(12, 5).eval(), False, (12,))


class Views(nn.Module):
    """The form of PyTorch's tutorial on CIFAR-10: ``view`` fails where an activation is channels last."""

    def __init__(self, traced: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 3 * 3, 5)
        self.traced = traced

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2, 2)  # (B, 4, 3, 3)
        if not self.traced and x.mean() > 100:
            x = x / 100  # (B, 4, 3, 3)
        return self.fc(x.view(-1, 4 * 3 * 3))  # (B, 5)


@pytest.mark.parametrize("traced", [True, False])
def test_views_are_no_obstacle(traced: bool) -> None:
    same_as_plain(trained(Views(traced)), traced)


def test_what_only_fails_in_another_layout_runs_whole() -> None:
    class ViewAs(Views):
        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)[:, :, 1:4, 1:4].clone()  # (B, 4, 3, 3)
            return self.fc(x.view_as(x.flatten(1)))  # (B, 5)

    same_as_plain(trained(ViewAs(True)), False)


@pytest.mark.parametrize("calibration", ["independent", "sequential"])
def test_views_are_no_obstacle_after_the_search(calibration: Calibration) -> None:
    network, search = trained(Views(True)), images(100)
    problem = QuantProblem(network, Splits(search, search, "random", "random"), budget=0.2, calibration=calibration)
    bits = (4, 4)
    found = problem.evaluate(bits)
    assert problem.measure(problem.quantized(bits)).kl == pytest.approx(found.kl, rel=1e-3)
    start, settings = problem.quantized(bits), Finetuning(epochs=1)
    done = finetune(network, start, train=search, search=search, settings=settings)
    assert len(done.epochs) == 2
