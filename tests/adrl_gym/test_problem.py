"""The problem: what it answers, and what it refuses to be asked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import Bits
from adrl_gym.datasets.images import Images
from adrl_gym.datasets.own import own_splits
from adrl_gym.evaluation.engine import Engine
from adrl_gym.graph import ActivationCache
from adrl_gym.refit import refit

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture
def problem(tiny: nn.Module, batches: Batches) -> QuantProblem:
    """A problem of ``tiny`` with 2 to 4 bits, whose first layer is kept at 8."""
    options: dict[str, Any] = {"quantizer": "linear", "bits": (2, 4), "keep": {"conv1": 8}}
    return QuantProblem(tiny, own_splits(batches), budget=0.2, **options)


BAD_BITS = [
    ((8, 0, 0, 0), "layer 1: 0 bits, but this problem has the integers 2 to 4"),
    ((8, 2, 2, 5), "layer 3: 5 bits, but this problem has the integers 2 to 4"),
    ((8, 2.0, 2, 2), "layer 1: 2.0 bits"),
    ((4, 2, 2, 2), "layer 0: 4 bits, but this problem keeps it at 8"),
    ((8, 2, 2), "3 bit-widths for a network of 4 quantizable layers"),
]


@pytest.mark.parametrize(("bits", "message"), BAD_BITS)
def test_bits_that_were_not_prepared_are_refused(problem: QuantProblem, bits: Any, message: str) -> None:
    ask: Any
    for ask in (problem.evaluate, problem.test, problem.quantized):
        with pytest.raises(AdrlGymError, match=message):
            ask(bits)
    for ask in (problem.costs, problem.compare):
        with pytest.raises(AdrlGymError, match=message):
            ask([(8, 2, 2, 2), bits], "kl")


def test_float_layers_are_measured(problem: QuantProblem) -> None:
    assert problem.evaluate((None,) * 4) == problem.float_search
    bits: Any = (8, None, None, np.int64(2))
    assert problem.evaluate(bits).kl == problem.costs([[8, None, None, 2]], "kl").mean()
    with pytest.raises(AdrlGymError, match="layer 1: None bits"):
        problem.quantized((8, None, 2, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(("spare", "kept"), [(10**6, 10**6), (0, "half")])
def test_quantized_weights_share_the_memory_of_activations(
    tiny: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch, spare: int, kept: int | str
) -> None:
    """Activations get what the weights at all bit-widths leave over, and half of it at least."""
    limits: list[int] = []

    class Kept(ActivationCache):
        def __init__(self, limit: int) -> None:
            limits.append(limit)
            super().__init__(limit)

    monkeypatch.setattr("adrl_gym.evaluation.engine.ActivationCache", Kept)
    weights = 4 * 3 * sum(m.weight.numel() for m in tiny.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    QuantProblem(
        tiny, own_splits(batches), quantizer="linear", bits=(2, 4), activation_memory=weights + spare
    ).evaluate((2, 2, 2, 2))
    assert limits[0] == (weights // 2 if kept == "half" else kept)


def test_the_float_network_runs_on_the_test_images_once(
    tiny: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = own_splits(batches)
    problem = QuantProblem(tiny, replace(splits, test=own_splits(batches[1:]).search), quantizer="linear")
    asked, logits = [], Engine.logits

    def counted(engine: Engine, images: Images, bits: Bits) -> torch.Tensor:
        asked.append(tuple(bits))
        return logits(engine, images, bits)

    monkeypatch.setattr(Engine, "logits", counted)
    assert problem.float_test is not None
    assert (problem.float_test.accuracy, problem.float_test.agreement, problem.float_test.kl) == (100, 100, 0)
    found = [problem.test((1, 1, 1, 1)) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] is not None
    assert found[0].kl > 0
    assert asked == [(None,) * 4, (1, 1, 1, 1), (1, 1, 1, 1)]


@pytest.mark.parametrize("images", [0, -1, 2.5])
def test_no_images_are_refused(problem: QuantProblem, images: Any) -> None:
    bits = (8, 2, 2, 2)
    with pytest.raises(AdrlGymError, match=f"images={images}: at least 1 search image"):
        problem.evaluate(bits, images)
    with pytest.raises(AdrlGymError, match=f"images={images}: at least 1 search image"):
        problem.compare([bits], "kl", images=images)
    assert problem.evaluate(bits, 1000) == problem.evaluate(bits)  # all, where there are fewer


@pytest.mark.parametrize(("begin", "end"), [(-1, 10), (10, 10), (0, 0), (0, 301)])
def test_images_that_there_are_not(problem: QuantProblem, begin: int, end: int) -> None:
    with pytest.raises(AdrlGymError, match=f"search images {begin} to {end}: there are those from 0 to 300"):
        problem.costs([(8, 2, 2, 2)], "kl", begin, end)


def test_unknown_scores_are_refused(problem: QuantProblem) -> None:
    ask: Any
    for ask in (problem.costs, problem.compare):
        with pytest.raises(AdrlGymError, match="unknown score 'bogus': choose one of accuracy, agreement, kl, loss"):
            ask([(8, 2, 2, 2)], "bogus")


def test_any_problem_gives_the_weights_of_either_calibration(problem: QuantProblem, batches: Batches) -> None:
    bits, x = (8, 2, 3, 2), batches[0][0]
    direct, refitted = problem.quantized(bits), problem.quantized(bits, calibration="sequential")
    assert torch.equal(direct(x), problem.quantized(bits, calibration="independent")(x))
    assert torch.equal(refitted(x), refit(problem, bits, images=256)(x))
    assert not torch.equal(direct(x), refitted(x))
    with pytest.raises(AdrlGymError, match="unknown calibration 'finetuned': choose one of independent, sequential"):
        problem.quantized(bits, calibration="finetuned")  # type: ignore[arg-type]


def test_a_network_that_is_to_run_elsewhere_is_copied(
    tiny: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = own_splits(batches, 20)
    assert QuantProblem(tiny, splits, quantizer="linear", device="cpu").network is tiny
    # Stands in for another device: PyTorch takes it for one, but computes on the CPU.
    monkeypatch.setattr("adrl_gym.problem.check_device", lambda _: [torch.device("cpu", 0)])
    assert QuantProblem(tiny, splits, quantizer="linear").network is not tiny
