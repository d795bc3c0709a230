"""Searches of the four networks of the ids, from quantized layers to a measured configuration, under each budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from adrl_agents.baselines import uniform
from adrl_gym.envs import problem_of
from adrl_gym.layers import find_layers
from adrl_gym.models.named import NETWORKS
from adrl_gym.quantization.grid import round_to_levels
from adrl_gym.quantization.linear import Linear
from adrl_gym.quantization.registry import QUANTIZERS
from adrl_gym.search_space import SearchSpace
from made_tables import KINDS_TOGETHER, made_budget, made_table

_BITS = (2, 3)


class _Plain(Linear):
    """One scale for a whole layer, so that layers of millions of weights are rounded in no time."""

    def round(self, matrix: Tensor, bits: Sequence[int], hessian: object = None) -> dict[int, Tensor]:
        return {b: round_to_levels(matrix, matrix.abs().mean().expand(len(matrix), 1), b) for b in bits}


@pytest.mark.parametrize(("name", "side"), [("cifarnet", 32), ("resnet20", 32), ("alexnet", 64), ("resnet50", 32)])
def test_every_network_of_an_id_is_searched_under_each_budget(
    name: str, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers are quantized once: a budget changes what is allowed, and nothing else."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[name].make().eval()
        images = torch.randn(4, 3, side, side)
    monkeypatch.setitem(QUANTIZERS, "linear", _Plain())
    layers = find_layers(network, (3, side, side))
    table = made_table(layers, tmp_path / "table.csv")
    made: dict[str, Any] = {"quantizer": "linear", "bias_correction": False, "bits": _BITS, "cost_table": table}
    env = gym.make(
        "adrl_gym/MixedPrecisionQuant-v0", network=network, data=[(images, torch.arange(4))], images=4, **made
    )
    problem = problem_of(env)
    for kinds in KINDS_TOGETHER[:-1] if len(layers) < 30 else KINDS_TOGETHER[:5]:
        budget = made_budget(layers, kinds, table, max_bits=3, min_bits=2)
        config = problem.config.replace(budget=budget)
        problem.budget, problem.limits = config.budget, SearchSpace(layers, config).limits
        env.reset()
        for _ in layers:
            *_, info = env.step(np.ones(1, np.float32))
        assert info["chosen_bits"] == (3,) * len(layers)
        assert 2 in info["bits"]
        assert list(info["cost_ratios"]) == list(kinds)
        assert all(info["cost_ratios"][kind] <= limit for kind, limit in budget.items())
        assert 0 <= info["agreement"] <= 100
        assert all(problem.fits(problem.with_fixed(bits)) for bits in list(uniform(problem))[:1])
