"""Finetuning of networks that predict at every position."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adrl_gym import QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.export import save_packed
from adrl_gym.outputs import with_output
from adrl_gym.qat import Finetuning, finetune
from adrl_gym.qat.loader import Feed
from positions import CASES, accuracy, case


@pytest.mark.parametrize("distillation", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_finetuning_at_positions_learns(name: str, distillation: bool, tmp_path: Path) -> None:
    made = case(name)
    network, x, y, output, ignored, _ = made
    images = ImageSet(x, torch.where(y == ignored, -100, y))
    problem = QuantProblem(with_output(network, output), Splits(images, None, "made"), quantizer="linear", budget=0.3)
    settings = Finetuning(epochs=4, batch_size=8, learning_rate=0.01, distillation=distillation, precision="float32")
    start = problem.quantized([2] * len(problem.layers))
    done = finetune(problem.network, start, train=images, search=images, settings=settings)
    losses = [epoch.loss for epoch in done.epochs[1:] if epoch.loss is not None]
    assert losses[-1] < losses[0]
    assert done.best.search_accuracy == pytest.approx(accuracy(done.network.network, made))
    save_packed(tmp_path / "packed", done.network)


def test_pixels_labels_move_with_their_image() -> None:
    labels = torch.randint(5, (64, 8, 8), generator=torch.Generator().manual_seed(0))
    feed = Feed(ImageSet(labels[:, None].float() + 1, labels), 64, mirror=True)
    x, y = next(feed.batches(torch.Generator().manual_seed(0)))
    assert y is not None
    assert not torch.equal(y, labels)
    assert torch.equal(torch.where(y == -100, 0, y + 1).float(), x[:, 0])  # zeros beyond the border
    x = torch.randn(4, 3, 8, 8)
    as_they_are, _ = next(Feed(ImageSet(x, labels[:4, ::2, ::2]), 4, mirror=True).batches(torch.Generator()))
    assert {image.numpy().tobytes() for image in as_they_are} == {image.numpy().tobytes() for image in x}


def test_a_batch_without_a_position_that_counts_teaches_nothing() -> None:
    network, x, y, output, _, _ = case("tokens")
    y = torch.where(torch.arange(len(y))[:, None] < 32, -100, y)  # batches of two: most are without
    images = ImageSet(x, y)
    problem = QuantProblem(with_output(network, output), Splits(images, None, "made"), quantizer="linear", budget=0.3)
    settings = Finetuning(epochs=1, batch_size=2, precision="float32")
    start = problem.quantized([3] * len(problem.layers))
    done = finetune(problem.network, start, train=images, search=images, settings=settings)
    assert np.isfinite(done.epochs[1].loss or 0)
