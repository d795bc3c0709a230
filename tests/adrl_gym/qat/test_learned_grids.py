"""Finetuning with quantized inputs: their scales are learned, kept and resumed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from adrl_gym import QuantProblem
from adrl_gym.datasets import Splits
from adrl_gym.layers import ActivationGrid, input_grids
from adrl_gym.qat import Finetuned, Finetuning
from adrl_gym.qat.inputs import LearnedGrid
from trainable import labelled, run, same, smooth

SETTINGS = Finetuning(  # by the labels alone: with distillation, the least divergence here is that of the beginning
    epochs=4, batch_size=32, learning_rate=2e-3, distillation=False, horizontal_flip=False, precision="float32"
)


def made(network: nn.Module) -> QuantProblem:
    with torch.no_grad():
        network.get_parameter("fc.weight").mul_(5)
    splits = Splits(labelled(network, smooth(200, 1)), labelled(network, smooth(100, 2)), "random")
    return QuantProblem(network, splits, budget=0.5, activations=2)


def test_a_grid_in_training_computes_as_the_grid_and_learns_from_rounding_and_clipping() -> None:
    grid = ActivationGrid(3, 0.25, 2)  # from -0.5 to 1.25
    learned = LearnedGrid(grid)
    x = torch.tensor([-3.0, -0.3, 0.1, 0.35, 7.0], requires_grad=True)
    y = learned.quantize(x)
    assert torch.equal(y.detach(), grid.quantize(x.detach()))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    # LSQ, equation 3: rounding error inside, the last level outside; by the logarithm, times the scale.
    by_scale = [-2, -1 + 1.2, 0 - 0.4, 1 - 1.4, 5]
    assert learned.growth.grad is not None
    assert float(learned.growth.grad) == pytest.approx(0.25 * sum(by_scale), rel=1e-5)
    assert learned.grid() == grid


def test_scales_are_learned_and_resuming_changes_nothing(normed: nn.Module, tmp_path: Path) -> None:
    problem, state = made(normed), tmp_path / "state.pt"
    whole = run(problem, (4, 4, 4), settings=SETTINGS)
    start, trained = problem.quantized((4, 4, 4)), whole.network
    assert whole.best.search_accuracy > whole.epochs[0].search_accuracy
    assert problem.measure(trained).accuracy == whole.best.search_accuracy
    assert trained.input_grids.keys() == start.input_grids.keys()
    for name, grid in trained.input_grids.items():
        before = start.input_grids[name]
        assert (grid.bits, grid.zero_point) == (before.bits, before.zero_point)
        assert grid.scale != before.scale
    assert trained.input_grids["left"] == trained.input_grids["right"], "they share their weights and their grid"
    assert start.input_grids == input_grids(problem.calibrated), "what it began with is left alone"

    def stop(done: Finetuned) -> None:
        if len(done.epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(problem, (4, 4, 4), settings=SETTINGS, state=state, on_epoch=stop)
    resumed = run(problem, (4, 4, 4), settings=SETTINGS, state=state, resume=True)
    assert resumed.epochs == whole.epochs
    assert same(resumed.network, trained)
    assert resumed.network.input_grids == trained.input_grids
