"""Refit: less output error with the same bits, whatever the network; as a function, a command and a calibration."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.export.packed import load_packed, save_packed
from adrl_gym.layers import find_layers, quantizable
from adrl_gym.models.named import load_network
from adrl_gym.quantization.network import QuantizedNetwork
from adrl_gym.quantization.registry import find_quantizer
from adrl_gym.quantization.sequential import SequentialQuantizer
from adrl_gym.refit import calibrate, calibration_size, choose_weights, refit


class Plain(nn.Module):
    """Convolutions of all kinds, one after the other, with batch norms; images ``(B, 3, 8, 8)``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 24, 3, stride=2, padding="valid", groups=4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(24 * 9, 5)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # (B, 5)


class Branches(nn.Module):
    """A residual branch, a concatenation, weights that are shared and a module that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.twice = nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.first, self.tied = nn.Linear(16, 16), nn.Linear(16, 16)
        self.tied.weight = self.first.weight
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()  # (B, 8, 8, 8)
        x = torch.cat([self.left(x) + x, self.right(x)], 1)  # (B, 16, 8, 8)
        x = self.twice(self.twice(x).relu())  # (B, 16, 8, 8)
        x = self.tied(self.first(x.mean((2, 3))).relu())  # (B, 16)
        return self.head(x)  # (B, 5)


class Tokens(nn.Module):
    """Linear layers on sequences ``(B, T, I)``: patches of the image, and two blocks of a torch.nn transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 16)
        self.mix, self.back = nn.Linear(16, 32), nn.Linear(32, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (
            x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        )  # (B, 16, 12)
        x = self.embed(x)  # (B, 16, 16)
        x = x + self.back(self.mix(x).relu())  # (B, 16, 16)
        return self.head(self.block(x).mean(1))  # (B, 5)


class Depends(nn.Module):
    """A network that torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 100:
            x = x / 100  # (B, 3, 8, 8)
        return self.fc(x.mean((2, 3)))  # (B, 5)


def make(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    """With random weights, batch norms that have seen images, and logits that vary by about 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = kind()
        network(torch.randn(64, 3, 8, 8))
        network.eval()
        with torch.no_grad():
            head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
            head.weight /= network(torch.randn(64, 3, 8, 8)).std(0)[:, None]
        return network


def images(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def problem_of(network: nn.Module, **keywords: Any) -> QuantProblem:
    splits = Splits(ImageSet(images(256), None), None, "noise")
    return QuantProblem(network, splits, **{"budget": 0.3, "bits": (2, 3), **keywords})


def mixed(problem: QuantProblem) -> tuple[int, ...]:
    return tuple(3 if index % 2 else 2 for index in range(len(problem.layers)))


def error(problem: QuantProblem, network: QuantizedNetwork, x: Tensor) -> float:
    """Variance of the logits' error over images."""
    with torch.no_grad():
        return float((network(x) - problem.network(x)).var(0).mean())


def equal(one: nn.Module | QuantizedNetwork, other: nn.Module | QuantizedNetwork) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)


@pytest.mark.parametrize("kind", [Plain, Branches, Tokens])
@pytest.mark.parametrize("quantizer", ["gptq", "linear", "kmeans"])
def test_refitted_networks_err_less_than_direct_ones(kind: type[nn.Module], quantizer: str) -> None:
    errors = []  # (networks, 4)
    for seed in range(3):
        problem = problem_of(make(kind, seed), quantizer=quantizer)
        both = problem.quantized(mixed(problem)), refit(problem, mixed(problem))
        errors.append([error(problem, network, x) for network in both for x in (images(256), images(500, seed=2))])
    direct, direct_other, refitted, refitted_other = np.mean(errors, axis=0)
    assert refitted < direct, "on the images that it was refitted on"
    assert refitted_other < direct_other, "on others"


def test_direct_weights_stay_where_the_refit_is_better_only_on_images_that_it_has_seen() -> None:
    few = Splits(ImageSet(images(16), None), ImageSet(images(500, seed=2), None), "noise")
    problem = QuantProblem(make(Plain), few)
    bits = [2] * len(problem.layers)
    direct, calibrated = problem.quantized(bits), calibrate(problem, bits, images(16))
    assert problem.measure(calibrated).kl < 0.1 * problem.measure(direct).kl
    assert problem.measure(calibrated, "test").kl > problem.measure(direct, "test").kl
    choice = choose_weights(problem, bits)
    assert equal(choice.network, direct)
    assert (choice.weights, choice.held_out) == ("direct", 4)
    assert choice.direct_kl < choice.refit_kl


@pytest.mark.parametrize(
    ("asked", "refits", "held_out"),
    [(None, [192, 256], 64), (100, [100], 100), (200, [200], 56), (250, [194, 250], 62), (images(40), [30, 40], 10)],
)
def test_images_are_held_out_of_the_refit_that_is_compared(
    monkeypatch: pytest.MonkeyPatch, asked: int | Tensor | None, refits: list[int], held_out: int
) -> None:
    problem, made, compared = problem_of(make(Plain)), Mock(wraps=calibrate), Mock(return_value=[0.1, 0.2])
    monkeypatch.setattr("adrl_gym.refit.calibrate", made)
    monkeypatch.setattr("adrl_gym.refit._divergences", compared)
    choice = choose_weights(problem, mixed(problem), images=asked)
    seen, others = [call.args[2] for call in made.call_args_list], compared.call_args.args[2]
    assert [len(part) for part in seen] == refits
    assert (choice.weights, choice.held_out, len(others)) == ("refit", held_out, held_out)
    assert not (others[:, None] == seen[0][None]).flatten(2).all(2).any(), "not seen by the first refit"
    assert equal(choice.network, calibrate(problem, mixed(problem), seen[-1]))


def test_neither_kind_of_weights_is_calibrated_on_the_images_of_the_comparison() -> None:
    problem = problem_of(make(Plain))
    bits = mixed(problem)
    choice = choose_weights(problem, bits)
    first = QuantProblem(problem.network, Splits(ImageSet(images(192), None), ImageSet(images(256)[192:], None), ""))
    assert choice.direct_kl == pytest.approx(first.measure(first.quantized(bits), "test").kl, rel=1e-4)
    assert choice.refit_kl == pytest.approx(first.measure(calibrate(first, bits, images(192)), "test").kl, rel=1e-4)


@pytest.mark.parametrize(
    ("side", "count", "expected"),
    [(8, 2000, (1024, 32768)), (8, 100, (100, 8192)), (64, 400, (341, 10912)), (224, 300, (256, 8192))],
)
def test_by_default_it_takes_more_images_where_they_are_small(side: int, count: int, expected: tuple[int, int]) -> None:
    problem = SimpleNamespace(
        images=count, splits=SimpleNamespace(search=ImageSet(torch.zeros(1, 3, side, side), None))
    )
    assert calibration_size(problem) == expected  # type: ignore[arg-type]
    assert calibration_size(problem, 50, 70) == (50, 70)  # type: ignore[arg-type]


def test_with_8_bits_it_stays_the_float_network(tiny: nn.Module) -> None:
    problem = problem_of(tiny, budget=1.0, bits=(1, 8))
    network, x = refit(problem, [8] * 4), images(500, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x), tiny(x), rtol=0, atol=0.05 * float(tiny(x).std()))
        assert not torch.equal(network(x), tiny(x))


def test_the_same_arguments_give_the_same_weights_and_leave_everything_alone() -> None:
    problem = problem_of(make(Branches))
    before = {name: tensor.clone() for name, tensor in problem.network.state_dict().items()}
    state = torch.get_rng_state()
    one, two = (refit(problem, mixed(problem), images=100, positions=300, seed=3) for _ in range(2))
    assert equal(one, two)
    assert not equal(one, refit(problem, mixed(problem), images=100, positions=300, seed=4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in problem.network.state_dict().items())
    assert equal(one, refit(problem, mixed(problem), images=images(256)[:100], positions=300, seed=3))


@pytest.mark.parametrize("kind", [Plain, Branches, Tokens])
@pytest.mark.parametrize("memory", [0, 300_000, 1 << 30])
def test_configurations_that_share_their_first_layers_are_as_if_refitted_alone(
    kind: type[nn.Module], memory: int
) -> None:
    network = make(kind)
    layers = find_layers(network, (3, 8, 8))

    def refitter(memory: int) -> SequentialQuantizer:
        return SequentialQuantizer(
            network, layers, images(130), quantizer=find_quantizer("linear"), positions=500, activation_memory=memory
        )

    used, n = refitter(memory), len(layers)
    for bits in ([2] * n, [2] * (n - 1) + [4], [2] * 2 + [3] * (n - 2), [5] * n, [2, None, *[2] * (n - 2)], [2] * n):
        for shared, alone in zip(used.quantize(bits), refitter(0).quantize(bits), strict=True):
            assert torch.equal(shared.weight, alone.weight)
            assert shared.bias is alone.bias or torch.equal(shared.bias, alone.bias)  # type: ignore[arg-type]


def test_what_is_shared_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make(Branches)
    layers = find_layers(network, (3, 8, 8))
    refitter = SequentialQuantizer(
        network, layers, images(130), quantizer=find_quantizer("linear"), activation_memory=1 << 30
    )
    refitted: list[int] = []
    whole = SequentialQuantizer._refit

    def counted(self: SequentialQuantizer, index: int, *rest: Any) -> Any:
        refitted.append(index)
        return whole(self, index, *rest)

    monkeypatch.setattr(SequentialQuantizer, "_refit", counted)
    for bits in ([2, 2, 2, 2, 2, 2], [2, 2, 2, 2, 4, 2], [2, 2, 2, 2, 2, 3]):
        refitter.quantize(bits)
    assert refitted == [0, 1, 2, 3, 4, 5, 4, 5, 5]


@pytest.mark.parametrize("quantizer", ["gptq", "linear", "kmeans"])
def test_the_packed_file_gives_the_refitted_network_back_bit_for_bit(quantizer: str, tmp_path: Path) -> None:
    problem = problem_of(make(Branches), quantizer=quantizer)
    network = refit(problem, mixed(problem))
    save_packed(tmp_path / "file", network)
    assert equal(load_packed(tmp_path / "file", make(Branches)), network)


def test_kept_layers_are_refitted_at_their_own_bits() -> None:
    problem = problem_of(make(Plain), keep={"body.0": 8})
    network = refit(problem, problem.with_fixed([2, 2, 2]))
    weight = quantizable(network.network, problem.layers[0]).weight  # (16, 3, 3, 3)
    assert 8 < len(weight[0].unique()) <= 27
    with pytest.raises(AdrlGymError, match="layer 0: 2 bits, but this problem keeps it at 8"):
        refit(problem, [2] * 4)


def test_bad_input() -> None:
    problem = problem_of(make(Plain))
    with pytest.raises(AdrlGymError, match="3 bit-widths for a network of 4 quantizable layers"):
        refit(problem, [2, 2, 2])
    for wrong in ({"images": 0}, {"positions": 0}):
        with pytest.raises(AdrlGymError, match="at least 1 is needed"):
            refit(problem, [2] * 4, **wrong)  # type: ignore[arg-type]
    with pytest.raises(AdrlGymError, match="1 image to refit on and to compare on: at least 2 are needed"):
        refit(problem, [2] * 4, images=images(1))
    with pytest.raises(AdrlGymError, match=r"images of shape \(5, 8, 8\) do not fit Plain"):
        refit(problem, [2] * 4, images=torch.zeros(4, 5, 8, 8))
    with pytest.raises(AdrlGymError, match=r"layer body\.0: its inputs hold NaN or infinity"):
        calibrate(problem, [2] * 4, torch.full((4, 3, 8, 8), torch.nan))
    with pytest.warns(UserWarning, match="cannot partition Depends"):
        untraceable = problem_of(Depends(), bits=(1, 8))
    with pytest.raises(
        AdrlGymError,
        match=r"Depends cannot be calibrated sequentially, .*: use calibration independent",
    ):
        refit(untraceable, [2])


def test_uniform_2_bits_of_resnet20_gain_on_real_images(cifar_splits: Splits) -> None:
    problem = QuantProblem(load_network("resnet20").network, cifar_splits, bits=(2, 2))
    bits = [2] * len(problem.layers)
    direct, refitted = problem.measure(problem.quantized(bits)), problem.measure(refit(problem, bits, images=256))
    assert refitted.accuracy > direct.accuracy + 4
    assert refitted.agreement > direct.agreement + 4
    assert refitted.kl < direct.kl / 2
