"""Budgets of every kind, on networks of the ids and on a tiny one that can be searched by exhaustion."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.config import ProblemConfig
from adrl_gym.datasets.own import own_splits
from adrl_gym.layers import find_layers
from adrl_gym.models.named import NETWORKS
from adrl_gym.search_space import SearchSpace
from adrl_gym.sensitivity import SensitivityTable
from made_tables import KINDS_TOGETHER, made_budget, made_table

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.mark.parametrize("kinds", KINDS_TOGETHER, ids="-".join)
def test_exhaustive_search_finds_the_knapsacks_optimum(
    tiny: nn.Module, batches: Batches, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    splits = own_splits(batches, 20)
    layers = find_layers(tiny, tuple(splits.search.images.shape[1:]))
    table = made_table(layers, tmp_path / "table.csv")
    budget, keep = made_budget(layers, kinds, table, 4), {"conv1": 3}
    problem = QuantProblem(tiny, splits, quantizer="linear", bits=(1, 4), budget=budget, cost_table=table, keep=keep)
    costs = np.random.default_rng(0).random((3, 4)) / np.arange(1, 5)  # (n, widths)
    every = [problem.with_fixed(bits) for bits in itertools.product(range(1, 5), repeat=3)]
    fitting = [bits for bits in every if problem.fits(bits)]
    assert 0 < len(fitting) < len(every)
    best = min(fitting, key=lambda bits: sum(costs[i, b - 1] for i, b in enumerate(bits[1:])))
    sensitivity = SensitivityTable.of(problem, costs)
    assert problem.with_fixed(sensitivity.solve()) == best
    assert problem.with_fixed(sensitivity.knapsack.complete(())) == best
    assert all(problem.fits(problem.project(bits)) for bits in every)
    assert tuple(problem.cost_ratios(best)) == kinds


@pytest.mark.parametrize(("name", "side"), [("cifarnet", 32), ("resnet20", 32), ("alexnet", 64), ("resnet50", 32)])
def test_every_network_of_an_id_has_configurations_within_each_budget(name: str, side: int, tmp_path: Path) -> None:
    with torch.device("meta" if name in ("alexnet", "resnet50") else "cpu"):
        network = NETWORKS[name].make().eval()
    layers = find_layers(network, (3, side, side))
    table = made_table(layers, tmp_path / "table.csv")
    costs = np.random.default_rng(0).random((len(layers), 8)) / 4.0 ** np.arange(8)  # (n, widths)
    all_layers = range(len(layers))
    for kinds in KINDS_TOGETHER[:-1]:
        config = ProblemConfig(budget=made_budget(layers, kinds, table), cost_table=table)
        space = SearchSpace(layers, config)
        sizes, allowed = space.limits.capacity(space.searchable, 8)
        answer = SensitivityTable(costs, sizes, allowed.tolist(), 1).solve()
        projected = space.project([8] * len(layers))
        assert space.fits(answer)
        assert space.fits(projected)
        assert not space.fits([8] * len(layers))
        found, wall = (costs[all_layers, np.array(bits) - 1].sum() for bits in (answer, projected))
        assert found <= wall


def test_a_table_of_another_network_is_refused(tiny: nn.Module, batches: Batches, tmp_path: Path) -> None:
    others = find_layers(NETWORKS["cifarnet"].make().eval(), (3, 32, 32))
    table = made_table(others, tmp_path / "table.csv")
    with pytest.raises(AdrlGymError, match=r"table.csv lacks milliseconds of 4 layers.*conv1 .conv .*another network"):
        QuantProblem(tiny, own_splits(batches, 20), quantizer="linear", budget={"latency": 0.5}, cost_table=table)
