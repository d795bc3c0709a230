"""The engine: with folding, sharing and caching, its logits match the reference evaluator."""

import copy
import pickle
import threading
import time
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_gym.datasets.splits import Splits
from adrl_gym.evaluation.engine import Engine, slice_size
from adrl_gym.evaluation.reference import ReferenceEvaluator
from adrl_gym.layers import find_layers
from adrl_gym.models.named import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization.layerwise import quantize_layers
from compared import CPU, Depends, engines, images, trained


class Branches(nn.Module):
    """All that makes partitioning hard: a module used twice, shared weights, in-place writes, branches, groups."""

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


@settings(deadline=None, max_examples=15)
@given(st.data(), st.sampled_from([0, 50_000, 1 << 30]))
def test_logits_match_the_reference_whatever_was_evaluated_before(data: st.DataObject, keep: int) -> None:
    search = images(120)
    engine, reference, n = engines(trained(Branches()), search, keep=keep)
    bits = st.lists(st.one_of(st.none(), st.integers(1, 8)), min_size=n, max_size=n)
    for configurations in data.draw(st.lists(st.lists(bits, min_size=1, max_size=5), min_size=1, max_size=4)):
        found = engine.measure(configurations, range(engine.slices))
        for c, row in zip(configurations, found, strict=True):
            logits = reference.logits(search, c)  # (N, K)
            torch.testing.assert_close(engine.search_logits([c])[0], logits, rtol=1e-4, atol=1e-4)
            kl = torch.cat([torch.from_numpy(metrics.kl) for metrics in row])  # (N,)
            unquantized = reference.logits(search, (None,) * n)  # (N, K)
            expected = F.kl_div(logits.log_softmax(1), unquantized.softmax(1), reduction="none").sum(1)  # (N,)
            torch.testing.assert_close(kl, expected, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(engine.logits(search, c), logits, rtol=1e-4, atol=1e-4)


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


def test_an_interrupted_evaluation_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    network, search = trained(Depends()), images(150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = find_layers(network, (3, 8, 8))
        engine = Engine(network, layers, [{} for _ in layers], search, [CPU] * 3)
    running, begun = threading.Semaphore(0), threading.Barrier(3, timeout=60)

    def run(slice_: int) -> None:
        begun.wait()  # one that has not begun is cancelled
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
    params = quantize_layers(tiny, layers, search.images, quantizer="gptq", bits=(2, 8), bias_correction=True)
    one, three = (Engine(tiny, layers, params, search, [CPU] * count) for count in (1, 3))
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


def test_slices_shrink_with_a_network_s_activations() -> None:
    small = find_layers(nn.Sequential(nn.Conv2d(3, 13, 1)), (3, 32, 32))  # 64 KiB an image
    large = find_layers(nn.Sequential(nn.Conv2d(3, 13, 1)), (3, 256, 256))  # 4 MiB an image
    huge = find_layers(nn.Sequential(nn.Conv2d(3, 13, 1)), (3, 1024, 1024))
    assert [slice_size(layers) for layers in (small, large, huge)] == [50, 4, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_predicts_as_the_cpu_does() -> None:
    network, search = load_network("resnet20").network, images(500, (3, 32, 32))
    layers = find_layers(network, (3, 32, 32))
    params = quantize_layers(network, layers, search.images, quantizer="gptq", bits=(2, 4), bias_correction=True)
    cpu, cuda = (Engine(network, layers, params, search, [torch.device(d)]) for d in ("cpu", "cuda:0"))
    bits = [2, 4] * 10
    torch.testing.assert_close(cuda.logits(search, bits), cpu.logits(search, bits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "cifarnet"])
@pytest.mark.parametrize("quantizer", ["gptq", "linear", "kmeans"])
def test_predictions_on_real_images_match_the_reference(name: str, quantizer: str, cifar_splits: Splits) -> None:
    network = load_network(name).network
    search = cifar_splits.search
    layers, few = find_layers(network, (3, 32, 32)), search.images[:100]  # (100, 3, 32, 32): enough to quantize on
    params = quantize_layers(network, layers, few, quantizer=quantizer, bits=(2, 5), bias_correction=True)
    engine, reference = Engine(network, layers, params, search, [CPU]), ReferenceEvaluator(network, layers, params)
    for seed in range(2):
        draw = torch.randint(2, (len(layers),), generator=torch.Generator().manual_seed(seed))
        bits = [2 + 3 * int(d) for d in draw]
        different = engine.logits(search, bits).argmax(1) != reference.logits(search, bits).argmax(1)  # (N,)
        assert int(different.sum()) <= 2
