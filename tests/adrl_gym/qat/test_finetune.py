"""Quantization-aware training: what it improves, what stays on the grid, and that it goes on where it stopped."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError, BitConfig
from adrl_gym.datasets.augmentation import augment
from adrl_gym.datasets.images import Images, ImageSet, LazyImageSet
from adrl_gym.evaluation.precision import check_native
from adrl_gym.export.packed import load_packed, save_packed
from adrl_gym.qat.epochs import Finetuned
from adrl_gym.qat.loader import Feed
from adrl_gym.qat.loop import _Done, finetune
from adrl_gym.qat.settings import Finetuning
from adrl_gym.qat.teacher import FloatTeacher
from adrl_gym.qat.trainer import Trainer
from adrl_gym.qat.weights import QuantizedWeights
from adrl_gym.quantization.network import Origin, QuantizedNetwork
from adrl_gym.quantization.registry import QUANTIZERS
from trainable import BITS, labelled, make_problem, run, same, smooth

LONGER = Finetuning(epochs=12, batch_size=32, learning_rate=2e-3, horizontal_flip=False, precision="float32")


def loss_fell(done: Finetuned) -> bool:
    first, last = done.epochs[1].loss, done.epochs[-1].loss
    assert first is not None
    assert last is not None
    return last < 0.7 * first


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_network_gets_better_and_its_weights_stay_on_the_grid(
    tiny: nn.Module, tmp_path: Path, quantizer: str
) -> None:
    problem = make_problem(tiny, quantizer)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    done = run(problem, settings=LONGER)
    assert [epoch.epoch for epoch in done.epochs] == list(range(13))
    assert loss_fell(done)
    start, end = done.epochs[0], done.best
    assert start.loss is None
    assert end.search_accuracy > start.search_accuracy + 2
    assert (done.float_search_accuracy, done.float_test_accuracy) == (100, 100)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.state_dict().items()), "the teacher stays"

    save_packed(tmp_path / "file", done.network)
    loaded = load_packed(tmp_path / "file", tiny)
    assert same(loaded, done.network)
    assert not same(loaded, problem.quantized(BITS))
    assert problem.measure(done.network).accuracy == end.search_accuracy
    test = problem.measure(done.network, "test")
    assert (test.accuracy, test.agreement) == (end.test_accuracy, end.test_agreement)
    assert test.kl == pytest.approx(end.test_kl)
    assert test.loss == pytest.approx(end.test_loss)


def test_the_best_epoch_is_chosen_by_the_search_images_and_may_be_the_start(tiny: nn.Module) -> None:
    problem = make_problem(tiny)
    seen: list[Finetuned] = []
    done = run(problem, on_epoch=seen.append)
    assert [len(so_far.epochs) for so_far in seen] == [1, 2, 3, 4]
    found = [epoch.search_kl for epoch in done.epochs if epoch.search_kl is not None]
    assert done.best.search_kl == min(found)
    assert problem.measure(done.network).kl == pytest.approx(min(found))
    older = replace(done.best, search_kl=None)  # of a log that an earlier version began
    log = _Done(done.network, older, [older], by_divergence=True)
    log.add(replace(older, epoch=9, search_accuracy=older.search_accuracy + 1), done.network)
    assert log.best.epoch == 9
    labels = run(problem, settings=Finetuning(epochs=2, batch_size=32, distillation=False, precision="float32"))
    assert labels.best.search_accuracy == max(epoch.search_accuracy for epoch in labels.epochs)
    wrong = ImageSet(smooth(320, 3), torch.randint(0, 5, (320,), generator=torch.Generator().manual_seed(0)))
    settings = Finetuning(epochs=1, batch_size=32, learning_rate=0.1, distillation=False, precision="float32")
    spoilt = run(problem, train=wrong, settings=settings)
    assert spoilt.epochs[1].search_accuracy < spoilt.epochs[0].search_accuracy
    assert spoilt.best.epoch == 0
    assert same(spoilt.network, problem.quantized(BITS))


def test_batch_norm_dropout_and_shared_weights(normed: nn.Module, tmp_path: Path) -> None:
    problem = make_problem(normed)
    done = run(problem, (2, 1, 2), train=ImageSet(smooth(320, 3), None), settings=LONGER)
    assert loss_fell(done)
    trained = dict(done.network.network.named_modules())
    assert trained["left"].weight is trained["right"].weight
    for name in ("running_mean", "running_var"):
        assert torch.equal(done.network.network.state_dict()[f"norm.{name}"], normed.state_dict()[f"norm.{name}"])
    assert not torch.equal(done.network.network.state_dict()["norm.weight"], normed.state_dict()["norm.weight"])
    assert done.network.bits == BitConfig(("conv", "left", "fc"), (2, 1, 2))
    save_packed(tmp_path / "file", done.network)
    assert same(load_packed(tmp_path / "file", normed), done.network)


def test_nothing_random_is_left_to_chance(normed: nn.Module) -> None:
    problem = make_problem(normed)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run(problem, (3, 2, 3))
    assert torch.equal(torch.get_rng_state(), state), "the caller's own generator goes on as if nothing had been"
    torch.manual_seed(2)
    second = run(problem, (3, 2, 3))
    assert first.epochs == second.epochs
    assert same(first.network, second.network)


def test_a_busy_moment_does_not_decide_which_precision_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls, seconds = 0.0, 0, {torch.bfloat16: 1.0, torch.float32: 2.0}

    def convolution(x: Tensor, *_: object, **__: object) -> Tensor:
        nonlocal now, calls
        now, calls = now + seconds[x.dtype] * (10 if calls < 8 else 1), calls + 1
        return x

    monkeypatch.setattr("adrl_gym.evaluation.precision.F", SimpleNamespace(conv2d=convolution))
    monkeypatch.setattr("adrl_gym.evaluation.precision.time", SimpleNamespace(perf_counter=lambda: now))
    check_native("bfloat16", [torch.device("cpu")])
    calls, seconds[torch.bfloat16] = 0, 3.0
    with pytest.raises(AdrlGymError, match=r"bfloat16 takes 1\.5 times as long as float32 on cpu"):
        check_native("bfloat16", [torch.device("cpu")])


def test_without_labels_the_float_network_teaches(tiny: nn.Module) -> None:
    problem = make_problem(tiny)
    unlabelled = ImageSet(smooth(320, 3), None)
    done = run(problem, train=unlabelled, search=unlabelled.first(100), test=None, settings=LONGER)
    assert loss_fell(done)
    assert done.best.search_accuracy > done.epochs[0].search_accuracy + 2  # agreement with the float network
    assert done.best.test_accuracy is done.float_test_accuracy is None
    with pytest.raises(AdrlGymError, match="the training images have no labels: let the float network teach"):
        run(problem, train=unlabelled, settings=Finetuning(epochs=1, distillation=False))


def test_images_on_disk_give_the_same_as_in_memory(tiny: nn.Module) -> None:
    problem, images = make_problem(tiny), smooth(100, 3)
    labels = labelled(tiny, images).labels
    assert labels is not None
    lazy = LazyImageSet(tuple(map(str, range(100))), labels, lambda path: images[int(path)])
    settings = Finetuning(epochs=1, batch_size=32, precision="float32")
    assert (
        run(problem, train=lazy, settings=settings).epochs
        == run(problem, train=ImageSet(images, labels), settings=settings).epochs
    )


def test_a_loss_that_is_not_finite_ends_it_and_the_best_so_far_stays(tiny: nn.Module, tmp_path: Path) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"
    seen: list[Finetuned] = []
    images = smooth(320, 3)
    images[5] = torch.nan
    with pytest.raises(AdrlGymError, match="the loss became nan in epoch 1: lower learning_rate"):
        run(problem, train=ImageSet(images, None), state=state, on_epoch=seen.append)
    assert same(seen[-1].network, problem.quantized(BITS))
    assert state.exists()


def test_networks_bits_and_images_that_do_not_fit_are_refused(tiny: nn.Module, normed: nn.Module) -> None:
    problem = make_problem(tiny)
    names = tuple(layer.name for layer in problem.layers)
    data: dict[str, Any] = {"train": problem.splits.search, "search": problem.splits.search}

    def refused(message: str, start: QuantizedNetwork, **changes: Any) -> None:
        with pytest.raises(AdrlGymError, match=message):
            finetune(tiny, start, **{**data, **changes})

    good = problem.quantized(BITS)
    refused("the network to begin with is not Tiny quantized: it differs in conv1.weight", good.with_network(normed))
    refused("layer fc2: its weights do not fit 1 bits", replace(good, bits=BitConfig(names, (4, 2, 1, 1))))
    refused("unknown layer head in the bit configuration", replace(good, bits=BitConfig(("conv1", "head"), (4, 2))))
    refused("1 training image: at least 2 are needed", good, train=problem.splits.search.first(1))
    wrong = ImageSet(smooth(10, 0), torch.full((10,), 5))
    refused("label 5 of image 0 is out of range: Tiny has 5 outputs", good, train=wrong)
    refused("images of shape", good, train=ImageSet(torch.zeros(4, 1, 8, 8), None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and below 1, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0 and below 1, got nan"),
    ],
)
def test_impossible_settings_are_refused(tiny: nn.Module, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        run(make_problem(tiny), settings=Finetuning(**settings))


def test_gradients_pass_the_rounding_and_stop_beyond_the_last_level() -> None:
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.5, -0.5, 1.5, 1.5]])  # 2 bits at a step of 1
    weights = QuantizedWeights(
        QuantizedNetwork(nn.Sequential(layer), BitConfig(("0",), (2,)), Origin("linear", "one", "none"))
    )
    latent = weights.weights[0].get_parameter("latent")
    latent.data = torch.tensor([[0.7, -0.9, 1.9, 2.1]])
    (weight,) = weights().values()  # (1, 4)
    assert torch.equal(weight, layer.weight)
    weight.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert latent.grad is not None
    assert torch.equal(latent.grad, torch.tensor([[1.0, 2.0, 3.0, 0.0]]))  # straight through, but for the clipped one
    # LSQ, equation 3: level less latent weight over step inside, the last level outside.
    expected = 1 * (0.5 - 0.7) + 2 * (-0.5 + 0.9) + 3 * (1.5 - 1.9) + 4 * 1.5
    growth = weights.weights[0].get_parameter("growth").grad
    assert growth is not None
    assert float(growth) == pytest.approx(expected)


def test_augmented_images_are_shifted_by_at_most_an_eighth_and_perhaps_flipped() -> None:
    x = torch.arange(1.0, 65).reshape(1, 1, 8, 8).expand(500, 1, 8, 8)  # every pixel has its own value
    y = augment(x, torch.Generator().manual_seed(0))  # (B, 1, 8, 8)
    found = set()
    for flipped in (False, True):
        padded = nn.functional.pad(x[0, 0].flip(1) if flipped else x[0, 0], (1, 1, 1, 1))  # (10, 10)
        for top, left in itertools.product(range(3), range(3)):
            crop = padded[top : top + 8, left : left + 8]  # (8, 8)
            found |= {(index, top, left, flipped) for index in (y[:, 0] == crop).all((1, 2)).nonzero()[:, 0].tolist()}
    assert {index for index, *_ in found} == set(range(500)), "each image is one of the crops"
    assert len({(top, left, flipped) for _, top, left, flipped in found}) == 18, "9 shifts, flipped and not"
    assert torch.equal(augment(torch.ones(3, 4), torch.Generator()), torch.ones(3, 4))
    as_they_are = augment(x, torch.Generator().manual_seed(0), mirror=False)
    assert (as_they_are[:, 0, 4].diff(dim=1)[:, 1:-1] == 1).all(), "along a row, values rise"


@pytest.mark.parametrize("mirror", [True, False])
def test_the_float_network_teaches_by_image_and_mirror_image_together(tiny: nn.Module, mirror: bool) -> None:
    seen: list[Tensor] = []

    class Teacher(FloatTeacher):
        def logits(self, images: Images) -> Tensor:
            seen.append(next(images.batches(len(images)))[0])
            return super().logits(images)

    problem = make_problem(tiny)
    settings = Finetuning(epochs=1, batch_size=32, horizontal_flip=mirror, precision="float32")
    Trainer(
        problem.quantized(BITS),
        teacher=Teacher(tiny, problem.splits.search, torch.device("cpu")),
        feed=Feed(ImageSet(smooth(64, 3), None), 32, mirror),
        settings=settings,
        precision="float32",
        device=torch.device("cpu"),
    ).train_epoch(1)
    assert [len(images) for images in seen] == [32 * (1 + mirror)] * 2
    if mirror:
        assert all(torch.equal(images[:32].flip(3), images[32:]) for images in seen)


class WritesIntoImages(nn.Module):
    """The same as another network, whose images it normalises where they are, as some of torch.hub's do."""

    def __init__(self, network: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.network, self._in_place = network, in_place

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.sub_(0.5).div_(2) if self._in_place else (x - 0.5) / 2)


def test_a_network_that_writes_into_its_images_is_taught_the_same(tiny: nn.Module) -> None:
    losses = []
    for in_place in (True, False):
        network = WritesIntoImages(copy.deepcopy(tiny), in_place)
        problem = make_problem(copy.deepcopy(network))
        losses.append([epoch.loss for epoch in run(problem).epochs])
    assert losses[0] == losses[1]
