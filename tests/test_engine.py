"""The fast engine: whatever it shares, keeps or folds, its logits are those of the plain way."""

import copy
import itertools
import pickle
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_gym.bits import BitConfig
from adrl_gym.data import ImageSet, Splits
from adrl_gym.data.cifar10 import cifar10_splits
from adrl_gym.evaluation import ACTIVATION_MEMORY, Bits, Engine, PlainEvaluator, prepare_layers
from adrl_gym.evaluation.engine import slice_size
from adrl_gym.evaluation.refit import Recipe
from adrl_gym.finetune import Finetuning, finetune
from adrl_gym.layers import find_layers
from adrl_gym.networks import load_network
from adrl_gym.problem import QuantProblem

CPU = torch.device("cpu")


class Branches(nn.Module):
    """Everything that makes cutting hard: a module used twice, shared weights, in-place writes, branches, groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1, bias=False)
        self.right_norm = nn.BatchNorm2d(8, affine=False)
        self.first, self.tied = nn.Linear(8, 8), nn.Linear(8, 8)
        self.tied.weight = self.first.weight
        self.flat_norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)), True)  # (B, 8, 8, 8)
        y = self.twice(x)  # (B, 8, 8, 8)
        y = self.twice(y.relu_())  # (B, 8, 8, 8)
        z = self.left(y)  # (B, 8, 8, 8)
        z += x  # x is still needed
        x += self.right_norm(self.right(z))  # (B, 8, 8, 8)
        x = F.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1)  # (B, 8)
        return self.head(self.flat_norm(self.tied(F.relu(self.first(x)))))  # (B, 5)


class Depends(nn.Module):
    """A network that torch.fx cannot trace: its way depends on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (B, 4, 6, 6)
        if x.mean() > 100:
            x = x / 100  # (B, 4, 6, 6)
        return self.fc(x.mean((2, 3)))  # (B, 5)


def trained(network: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> nn.Module:
    """With batch norms that have seen images."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.train()(torch.randn(64, *shape))
    return network.eval()


def images(count: int, shape: tuple[int, ...] = (3, 8, 8)) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    return ImageSet(torch.randn(count, *shape, generator=generator), torch.randint(5, (count,), generator=generator))


def engines(
    network: nn.Module, data: ImageSet, keep: int = ACTIVATION_MEMORY, bits: Sequence[int] = range(1, 9)
) -> tuple[Engine, PlainEvaluator, int]:
    layers = find_layers(network, tuple(data.images.shape[1:]))
    versions = prepare_layers(network, layers, data.images, quantizer="linear", bits=bits, bias_correction=True)
    engine = Engine(network, layers, versions, data, [CPU], activation_memory=keep)
    return engine, PlainEvaluator(network, layers, versions), len(layers)


@settings(deadline=None, max_examples=15)
@given(st.data(), st.sampled_from([0, 50_000, 1 << 30]))
def test_whatever_was_asked_before_logits_are_those_of_the_plain_way(data: st.DataObject, keep: int) -> None:
    search = images(120)
    engine, plain, n = engines(trained(Branches()), search, keep=keep)
    bits = st.lists(st.one_of(st.none(), st.integers(1, 8)), min_size=n, max_size=n)
    for configurations in data.draw(st.lists(st.lists(bits, min_size=1, max_size=5), min_size=1, max_size=4)):
        found = engine.measure(configurations, range(engine.slices))
        for c, row in zip(configurations, found, strict=True):
            logits = plain.logits(search, c)  # (N, K)
            torch.testing.assert_close(engine.search_logits([c])[0], logits, rtol=1e-4, atol=1e-4)
            kl = torch.cat([torch.from_numpy(outcomes.kl) for outcomes in row])  # (N,)
            reference = plain.logits(search, (None,) * n)  # (N, K)
            expected = F.kl_div(logits.log_softmax(1), reference.softmax(1), reduction="none").sum(1)  # (N,)
            torch.testing.assert_close(kl, expected, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(engine.logits(search, c), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "densenet"])
def test_torchvision_s_networks_are_cut(name: str) -> None:
    models = torchvision.models
    small = models.DenseNet(growth_rate=8, block_config=(2, 2), num_classes=5)
    network = trained(small if name == "densenet" else models.get_model(name, num_classes=5), (3, 64, 64))
    search = images(8, (3, 64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine, plain, n = engines(network, search, bits=(4, 8))
    ways: list[Bits] = [[8] * n, [8] * (n - 1) + [4], [4] + [8] * (n - 1), [None] * n]
    engine.measure(ways, range(engine.slices))
    for bits in ways:
        expected = plain.logits(search, bits)  # (N, K)
        torch.testing.assert_close(engine.logits(search, bits), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_only_the_rest_of_the_network_runs(tiny: nn.Module) -> None:
    engine, _, n = engines(tiny, images(100))
    whole = engine.passes
    engine.measure([[8] * n], range(engine.slices))
    assert engine.passes - whole == pytest.approx(1)
    macs = [layer.macs for layer in find_layers(tiny, (3, 8, 8))]
    before = engine.passes
    engine.measure([[8] * (n - 1) + [b] for b in range(1, 8)], range(engine.slices))
    assert engine.passes - before == pytest.approx(1 + 6 * macs[-1] / sum(macs))  # the beginning once, the last 7 times
    before = engine.passes
    engine.measure([[8] * (n - 1) + [None]], range(engine.slices))
    assert engine.passes - before == pytest.approx(macs[-1] / sum(macs))  # the beginning was kept


def test_what_would_not_fit_is_not_kept(tiny: nn.Module) -> None:
    engine, _, n = engines(tiny, images(100), keep=1000)
    for _ in range(2):
        before = engine.passes
        engine.measure([[8] * (n - 1) + [b] for b in (1, 2)], range(engine.slices))
        assert engine.passes - before > 1
    assert engine._kept.size == 0


def test_a_network_that_cannot_be_traced_runs_whole_with_one_warning() -> None:
    network, search = trained(Depends()), images(100)
    with pytest.warns(UserWarning, match="cannot cut Depends") as caught:
        engine, plain, n = engines(network, search)
    assert len(caught) == 1
    for bits in itertools.product((1, 8, None), repeat=n):
        torch.testing.assert_close(engine.logits(search, bits), plain.logits(search, bits), rtol=1e-4, atol=1e-4)


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


def test_a_network_that_tells_tracing_from_running_runs_whole() -> None:
    same_as_plain(trained(Asks()), False)


def test_a_single_layer_runs_whole() -> None:
    same_as_plain(nn.Linear(12, 5).eval(), False, (12,))


def same_as_plain(network: nn.Module, cut: bool, shape: tuple[int, ...] = (3, 8, 8)) -> None:
    """Compare logits; ``cut`` says whether the network can be cut. The images stay as they are."""
    search = images(100, shape)
    before = search.images.clone()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine, plain, n = engines(network, search)
    assert [str(w.message) for w in caught if "cannot cut" not in str(w.message)] == []
    assert bool(caught) is not cut
    for bits in ([None] * n, [8] * n, [2] * n):
        expected = plain.logits(search, bits)  # (N, K)
        with torch.inference_mode():
            whole = network(before.clone())  # (N, K)
        if bits[0] is None:
            torch.testing.assert_close(expected, whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(engine.search_logits([bits])[0], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(search.images, before)


def test_an_interrupted_question_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    network, search = trained(Depends()), images(150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = find_layers(network, (3, 8, 8))
        engine = Engine(network, layers, [{} for _ in layers], search, [CPU] * 3)
    running = threading.Semaphore(0)

    def run(slice_: int) -> None:
        if slice_ == 0:
            raise KeyboardInterrupt
        time.sleep(0.2)
        running.release()

    with pytest.raises(KeyboardInterrupt):
        engine._map(run, range(3))
    assert running.acquire(blocking=False)
    assert running.acquire(blocking=False)
    engine.close()
    engine.close()
    assert engine.logits(search, [None] * len(layers)).shape == (150, 5)


def test_several_devices_share_the_images(tiny: nn.Module) -> None:
    search = images(130)
    layers = find_layers(tiny, (3, 8, 8))
    versions = prepare_layers(tiny, layers, search.images, quantizer="gptq", bits=(2, 8), bias_correction=True)
    one, three = (Engine(tiny, layers, versions, search, [CPU] * count) for count in (1, 3))
    configurations = [[2, 8, 2, 8], [8, 8, 8, 2]]
    for a, b in zip(*(e.measure(configurations, range(e.slices)) for e in (one, three)), strict=True):
        assert [x.metrics() for x in a] == [x.metrics() for x in b]
    assert one.passes == pytest.approx(three.passes)


def test_the_network_is_neither_changed_nor_kept(tiny: nn.Module) -> None:
    network = trained(Branches())
    before = copy.deepcopy(network.state_dict())
    engine, _, n = engines(network, images(60))
    engine.measure([[1] * n], range(engine.slices))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_pickled_problem_measures_the_same(tiny: nn.Module) -> None:
    problem = QuantProblem(tiny, Splits(images(100), None, "random", "random"), budget=0.5)
    assert pickle.loads(pickle.dumps(problem)).evaluate((3, 1, 4, 1)) == problem.evaluate((3, 1, 4, 1))


@pytest.mark.parametrize("side", [1, 28, 32, 64, 224, 1024])
def test_slices_shrink_with_the_images(side: int) -> None:
    assert 8 <= slice_size((3, side, side)) <= 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_predicts_as_the_cpu_does() -> None:
    network, search = load_network("resnet20").network, images(500, (3, 32, 32))
    layers = find_layers(network, (3, 32, 32))
    versions = prepare_layers(network, layers, search.images, quantizer="gptq", bits=(2, 4), bias_correction=True)
    cpu, cuda = (Engine(network, layers, versions, search, [torch.device(d)]) for d in ("cpu", "cuda:0"))
    bits = [2, 4] * 10
    torch.testing.assert_close(cuda.logits(search, bits), cpu.logits(search, bits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "cifarnet"])
@pytest.mark.parametrize("quantizer", ["gptq", "linear", "kmeans"])
def test_predictions_on_real_images_are_the_plain_ones(name: str, quantizer: str, cifar_root: Path) -> None:
    network = load_network(name).network
    search = cifar10_splits(cifar_root, 500).search
    layers = find_layers(network, (3, 32, 32))
    versions = prepare_layers(network, layers, search.images, quantizer=quantizer, bits=(2, 5), bias_correction=True)
    engine, plain = Engine(network, layers, versions, search, [CPU]), PlainEvaluator(network, layers, versions)
    for seed in range(2):
        draw = torch.randint(2, (len(layers),), generator=torch.Generator().manual_seed(seed))
        bits = [2 + 3 * int(d) for d in draw]
        different = engine.logits(search, bits).argmax(1) != plain.logits(search, bits).argmax(1)  # (N,)
        assert int(different.sum()) <= 2


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


@pytest.mark.parametrize("recipe", ["direct", "refit"])
def test_views_are_no_obstacle_after_the_search(recipe: Recipe) -> None:
    network, search = trained(Views(True)), images(100)
    problem = QuantProblem(network, Splits(search, search, "random", "random"), budget=0.2, recipe=recipe)
    bits = (4, 4)
    found = problem.evaluate(bits)
    assert problem.measure(problem.quantized(bits)).kl == pytest.approx(found.kl, rel=1e-3)
    config = BitConfig(tuple(layer.name for layer in problem.layers), bits)
    start, settings = problem.quantized(bits), Finetuning(epochs=1)
    done = finetune(network, start, config, quantizer="gptq", train=search, search=search, settings=settings)
    assert len(done.epochs) == 2
