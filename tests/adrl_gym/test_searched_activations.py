"""Problems and environments whose layers have bits of weights and of activations, both searched."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_sb3
from torch import nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.config import ProblemConfig
from adrl_gym.costs import CostTable, TableRow
from adrl_gym.datasets import Splits
from adrl_gym.datasets.own import own_splits
from adrl_gym.envs import problem_of
from adrl_gym.export import load_packed, save_packed
from adrl_gym.layers import find_layers
from adrl_gym.refit import refit
from adrl_gym.sensitivity import SensitivityTable, measure_around, sensitivity_tables
from trainable import labelled, smooth

Batches = list[tuple[torch.Tensor, torch.Tensor]]
BITOPS = {"bitops": 0.01}


def searched(tiny: nn.Module, batches: Batches, **changes: Any) -> QuantProblem:
    return QuantProblem(tiny, own_splits(batches, 40), **{"activations": "search", "budget": BITOPS, **changes})


def table_of_latencies(tiny: nn.Module, path: Path) -> Path:
    """A table in which both bit-widths count."""
    widths = [(w, a) for w in (2, 4, 8) for a in (2, 4, 8)]
    rows = [
        TableRow(layer.signature, w, a, 1e-3 * layer.macs * (w * a / 64 + 0.1) if w < 32 else 1e-3 * layer.macs)
        for layer in find_layers(tiny, (3, 8, 8))
        for w, a in [*widths, (32, 32)]
    ]
    path.write_text(CostTable(tuple(rows)).to_csv())
    return path


@pytest.mark.parametrize("budget", [{"bitops": 0.011}, {"bitops": 0.012, "size": 0.0875}, {"latency": 0.285}], ids=str)
@pytest.mark.parametrize("keep", [{}, {"conv1": 2, "fc1": 3}], ids=str)
def test_exhaustive_search_finds_the_knapsacks_optimum(
    tiny: nn.Module, batches: Batches, tmp_path: Path, budget: dict[str, float], keep: dict[str, int]
) -> None:
    table = table_of_latencies(tiny, tmp_path / "table.csv")
    problem = searched(tiny, batches, quantizer="linear", bits=(1, 3), budget=budget, cost_table=table, keep=keep)
    costs = np.random.default_rng(0).random((len(problem.searchable), 3)) / np.arange(1, 4)  # (decisions, widths)
    widths = [problem.widths(place) for place in problem.searchable]
    every = list(itertools.product(*widths))
    fitting = [bits for bits in every if problem.fits(problem.with_fixed(bits))]
    assert 0 < len(fitting) < len(every)

    def cost(bits: tuple[int, ...]) -> float:
        return float(sum(costs[i, b - 1] for i, b in enumerate(bits)))

    best = min(fitting, key=cost)
    made = SensitivityTable.of(problem, costs)
    assert made.solve() == best
    assert made.knapsack.complete(()) == best
    for decided in (best[:1], fitting[0][:2], fitting[-1][:3], every[-1][:4]):
        rest = [bits for bits in fitting if bits[: len(decided)] == decided]
        least = min((cost(bits) - cost(decided) for bits in rest), default=np.inf)
        assert made.knapsack.cost_to_go(decided) == pytest.approx(least)
        if rest:
            assert problem.fits(problem.with_fixed(made.knapsack.complete(decided)))
    scores = made.knapsack.least_costs(best[:2], [1, 2, 3])
    assert min(scores) == pytest.approx(cost(best) - cost(best[:2]))
    projected = [problem.project(problem.with_fixed(bits)) for bits in every[::7]]
    assert all(problem.fits(bits) for bits in projected)
    assert tuple(problem.cost_ratios(problem.with_fixed(best))) == tuple(
        kind for kind in ("size", "bitops", "latency") if kind in budget
    )


def test_bit_operations_are_those_of_both_bit_widths(tiny: nn.Module, batches: Batches) -> None:
    problem = searched(tiny, batches, quantizer="linear")
    n = len(problem.layers)
    bits = problem.with_fixed([2, *[4, 3] * (n - 1)])
    assert bits == (2, *[4] * (n - 1), 8, *[3] * (n - 1))  # the images have 8 bits
    macs = [layer.macs for layer in problem.layers]
    expected = (macs[0] * 16 + sum(macs[1:]) * 12) / (1024 * sum(macs))
    assert problem.cost_ratios(bits)["bitops"] == pytest.approx(expected)
    assert problem.average_bits(bits) == problem.average_bits(bits[:n])
    wall = problem.project(problem.with_fixed([8] * len(problem.searchable)))
    given = [problem.with_fixed([8] * len(problem.searchable))[i] - b for i, b in enumerate(wall)]
    assert max(given) - min(g for i, g in enumerate(given) if i != n) <= 1  # bit by bit, round after round


def test_inputs_of_eight_bits_are_those_of_fixed_activations(tiny: nn.Module, batches: Batches) -> None:
    both = searched(tiny, batches), searched(tiny, batches, activations=8)
    n = len(both[0].layers)
    for weights in ((4,) * n, (8, 2, 3, 1)):
        found = [one.evaluate(bits) for one, bits in zip(both, ((*weights, *[8] * n), weights), strict=True)]
        assert found[0] == found[1]
    narrow = searched(tiny, batches, activations=3)
    assert narrow.evaluate((4,) * n) != both[1].evaluate((4,) * n)


def test_few_bits_of_activations_change_predictions(tiny: nn.Module, batches: Batches) -> None:
    problem = searched(tiny, batches)
    n = len(problem.layers)
    divergences = [problem.evaluate((*[None] * n, *[None] * (n - 1), b)).kl for b in (None, 8, 4, 2)]
    assert divergences == sorted(divergences)
    assert divergences[0] == 0 < divergences[1]
    quantized = problem.quantized((*[8] * n, 8, 5, 3, 2))
    assert [grid.bits for grid in quantized.input_grids.values()] == [8, 5, 3, 2]
    assert quantized.bits.bits == (8,) * n
    assert problem.measure(quantized).kl == pytest.approx(problem.evaluate((*[8] * n, 8, 5, 3, 2)).kl, rel=1e-3)


def test_refitted_weights_belong_to_the_inputs_bits(tiny: nn.Module, batches: Batches, tmp_path: Path) -> None:
    problem = searched(tiny, batches)
    n = len(problem.layers)
    bits = (*[3] * n, 8, 4, 4, 4)
    refitted = refit(problem, bits)
    assert [grid.bits for grid in refitted.input_grids.values()] == [8, 4, 4, 4]
    assert problem.measure(refitted).kl <= problem.measure(problem.quantized(bits)).kl
    save_packed(tmp_path / "packed.safetensors", refitted)
    loaded = load_packed(tmp_path / "packed.safetensors", tiny)
    images = batches[0][0]
    assert torch.equal(loaded(images), refitted(images))


def test_gradients_rank_inputs_as_measurements_do(normed: nn.Module) -> None:
    splits = Splits(labelled(normed, smooth(200, 1)), None, "random")
    problem = QuantProblem(normed, splits, activations="search", budget={"bitops": 0.02}, bits=(2, 8))
    gradient, measured = (sensitivity_tables(problem, how, "kl", 200) for how in ("gradient", "measured"))
    of_inputs = [row for row, place in enumerate(problem.searchable) if place >= len(problem.layers)]
    assert of_inputs
    a, b = gradient.alone().costs[of_inputs][:, :5], measured.alone().costs[of_inputs][:, :5]  # 2 to 6 bits
    assert np.corrcoef(np.log(a.clip(1e-9)).ravel(), np.log(b.clip(1e-9)).ravel())[0, 1] > 0.9
    best = problem.with_fixed(gradient.alone().knapsack.complete(()))
    around = gradient.around(best, 200).table(0.0)
    assert problem.fits(problem.with_fixed(around.knapsack.complete(())))
    costs = measure_around(problem, best, "kl", 200, measured.alone().costs).costs
    own = [best[place] - problem.min_bits for place in problem.searchable]
    assert np.allclose(costs[range(len(own)), own], 0)


@pytest.mark.filterwarnings("error")
def test_environment_takes_two_steps_a_layer(tiny: nn.Module, batches: Batches) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        for action_type in ("continuous", "discrete"):
            env = gym.make(
                "adrl_gym/MixedPrecisionQuant-v0",
                network=tiny,
                data=batches,
                images=40,
                activations="search",
                budget=BITOPS,
                action_type=action_type,
            )
            check_env(env.unwrapped, skip_render_check=True)
            check_for_sb3(env.unwrapped)
    problem = problem_of(env)
    n = len(problem.layers)
    assert len(problem.searchable) == 2 * n - 1
    runs = []
    for _ in range(2):
        observation, _ = env.reset(seed=3)
        seen, ended = [observation], False
        while not ended:
            observation, _, ended, _, info = env.step(0)
            seen.append(observation)
        runs.append((np.array(seen), info["bits"]))
        assert info["chosen_bits"] == (*[1] * n, 8, *[2] * (n - 1))
    assert np.array_equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    flags = runs[0][0][:-1, 8]
    assert flags.tolist() == [1.0, *[1.0, 0.0] * (n - 1)]
    assert np.all(np.diff(runs[0][0][:-1, 0]) > 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.0625}, "bitops or latency or energy"),
        ({"budget": {"size": 0.1, "memory": 0.2}}, "bitops or latency or energy"),
        ({"calibration": "sequential"}, "refit what the search finds"),
        ({"bits": (1, 1)}, "at least 2"),
        ({"budget": {"bitops": 1e-4}}, "the smallest possible is"),
    ],
    ids=str,
)
def test_settings_without_a_search_of_activations_are_refused(
    tiny: nn.Module, batches: Batches, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdrlGymError, match=message):
        searched(tiny, batches, **settings)


def test_other_configurations_are_refused(tiny: nn.Module, batches: Batches) -> None:
    problem = searched(tiny, batches, quantizer="linear")
    with pytest.raises(AdrlGymError, match="8 are needed"):
        problem.evaluate((4, 4, 4, 4))
    with pytest.raises(AdrlGymError, match="input: 1 bits"):
        problem.evaluate((4, 4, 4, 4, 8, 1, 4, 4))
    with pytest.raises(AdrlGymError, match="activations must have 2 to 8 bits"):
        ProblemConfig(activations="all")  # type: ignore[arg-type]
