"""Layers kept at fixed bits: they count in the size, and nothing that searches touches them."""

import itertools
import re
from typing import Any
from unittest.mock import Mock

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DDPG
from torch import nn

from adrl_agents import ADRL, HAQ
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import check_bits, match_keep, parse_keep
from adrl_gym.costs import Limits, size_cost, size_ratio
from adrl_gym.envs.access import problem_of
from adrl_gym.sensitivity.table import SensitivityTable

Batches = list[tuple[torch.Tensor, torch.Tensor]]
FIRST_AND_LAST = {"conv1": 8, "fc2": 8}  # as HAQ's code has it


def make(network: nn.Module, batches: Batches, **keywords: Any) -> gym.Env[np.ndarray, Any]:
    keywords = {"budget": 0.1, "quantizer": "linear", "keep": FIRST_AND_LAST, "images": 100, **keywords}
    return gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=batches, **keywords)


@settings(deadline=None)
@given(st.data())
def test_projection_never_touches_what_is_kept(data: st.DataObject) -> None:
    layers = data.draw(st.integers(1, 6))
    bits = data.draw(st.lists(st.integers(1, 8), min_size=layers, max_size=layers))
    parameters = data.draw(st.lists(st.integers(1, 50), min_size=layers, max_size=layers))
    kept = data.draw(st.dictionaries(st.integers(0, layers - 1), st.integers(1, 8)))
    smallest = size_ratio([kept.get(index, 1) for index in range(layers)], parameters)
    budget = data.draw(st.floats(smallest, 0.25)) if smallest < 0.25 else 0.25
    projected = Limits([(size_cost(parameters), budget)], 1, kept).project(bits)
    assert size_ratio(projected, parameters) <= budget
    assert all(projected[index] == b for index, b in kept.items())
    assert all(1 <= projected[index] <= bits[index] for index in range(layers) if index not in kept)
    with pytest.raises(AdrlGymError, match="no configuration meets"):
        Limits([(size_cost(parameters), 0.99 * smallest)], 1, kept)


def test_the_environment_steps_over_the_other_layers_alone(tiny: nn.Module, batches: Batches) -> None:
    env = make(tiny, batches, bits=(1, 4), budget=0.2)
    check_env(make(tiny, batches).unwrapped)
    problem = problem_of(env)
    assert problem.fixed_bits == {0: 8, 3: 8}
    assert problem.searchable == (1, 2)
    observations = [env.reset()[0]]
    for action, last in ((1.0, False), (-1.0, True)):
        observation, _, terminated, _, info = env.step(np.array([action], np.float32))
        assert terminated == last
        observations.append(observation)
    assert [float(o[0]) for o in observations] == [0, 1, 1]
    assert info["bits"] == info["chosen_bits"] == (8, 4, 1, 8)
    assert info["kl"] == problem.evaluate((8, 4, 1, 8)).kl
    assert info["size_ratio"] == size_ratio((8, 4, 1, 8), problem.parameters)


def test_render_shows_kept_layers(tiny: nn.Module, batches: Batches) -> None:
    env = make(tiny, batches, bits=(1, 4), render_mode="ansi")
    env.reset()
    assert [line.split()[:2] for line in str(env.render()).splitlines()[:-1]] == [["conv1", "8"], ["fc2", "8"]]
    env = make(tiny, batches, bits=(1, 4), render_mode="rgb_array")
    env.reset()
    assert isinstance(env.render(), np.ndarray)


def test_impossible_budgets_count_what_is_kept(tiny: nn.Module, batches: Batches) -> None:
    smallest = size_ratio((8, 1, 1, 8), problem_of(make(tiny, batches)).parameters)
    message = r"smallest possible is ([\d.]+) \(2 layers kept at their bits, the others at 1\)"
    with pytest.raises(AdrlGymError, match=message) as refused:
        make(tiny, batches, budget=smallest - 0.001)
    advised = re.search(message, str(refused.value))
    assert advised is not None
    assert smallest <= float(advised[1]) < smallest + 1e-6
    for budget in (smallest, float(advised[1])):
        assert problem_of(make(tiny, batches, budget=budget)).project([8] * 4) == (8, 1, 1, 8)


@pytest.mark.parametrize("context", ["single", "prefix", "completed", "best"])
def test_adrl_searches_the_other_layers(
    tiny: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    env = make(tiny, batches, budget=0.12)
    problem = problem_of(env)
    profiled, measured = Mock(wraps=problem.costs), Mock(wraps=problem.evaluate)
    monkeypatch.setattr(problem, "costs", profiled)
    monkeypatch.setattr(problem, "evaluate", measured)
    agent = ADRL("MlpPolicy", env, k=4, context=context, profile_images=50, seed=0).learn(25 * 2)
    configurations = {call.args[0] for call in measured.call_args_list} - {(None,) * 4}  # the float network
    for bits in (*configurations, *(bits for call in profiled.call_args_list for bits in call.args[0])):
        assert (bits[0], bits[3]) == (8, 8)
    assert len(configurations) > 1
    assert all(problem.size_ratio(bits) <= 0.12 for bits in configurations)
    observation, info = env.reset()
    while "bits" not in info:
        action, _ = agent.predict(observation)
        observation, _, _, _, info = env.step(action)
    assert (info["bits"][0], info["bits"][3]) == (8, 8)


@pytest.mark.parametrize("agent", [HAQ, DDPG, ADRL])
def test_every_agent_runs(tiny: nn.Module, batches: Batches, agent: Any) -> None:
    keywords = {"indicator": "distance"} if agent is ADRL else {}
    env = make(tiny, batches)
    agent("MlpPolicy", env, seed=0, **keywords).learn(6)
    assert problem_of(env).memo_hits + problem_of(env).memo_misses >= 3  # three episodes of two steps


def test_a_callable_indicator_sees_the_searched_layers(tiny: nn.Module, batches: Batches) -> None:
    seen: list[tuple[int, ...]] = []

    def indicator(problem: QuantProblem, decided: tuple[int, ...], candidates: Any) -> list[float]:
        seen.append(decided)
        return [float(-b) for b in candidates]

    ADRL("MlpPolicy", make(tiny, batches), indicator=indicator, seed=0).learn(4)
    assert {len(decided) for decided in seen} == {0, 1}


def test_completion_is_the_best_within_what_the_kept_layers_leave(tiny: nn.Module, batches: Batches) -> None:
    problem = problem_of(make(tiny, batches, budget=0.12))
    costs = problem.distances[list(problem.searchable)]  # (2, 8)
    completed = problem.with_fixed(SensitivityTable.of(problem, costs).knapsack.complete(()))
    fitting = [
        (sum(costs[layer, b - 1] for layer, b in enumerate(bits)), problem.with_fixed(bits))
        for bits in itertools.product(range(1, 9), repeat=2)
        if problem.size_ratio(problem.with_fixed(bits)) <= 0.12
    ]
    assert completed == min(fitting)[1]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"conv9": 8}, "keep conv9=8: no layer has such a name; there are conv1, conv2, fc1, fc2"),
        ({"fc2": 9}, "keep fc2=9: a bit-width is an integer from 1 to 8"),
        ({"fc2": 0}, "keep fc2=0"),
        ({"fc2": 2.5}, "keep fc2=2.5"),
        ({"*": 8}, "all 4 layers are kept, so there is nothing to search"),
    ],
)
def test_what_cannot_be_kept(tiny: nn.Module, batches: Batches, keep: Any, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message.replace("*", r"\*")):
        make(tiny, batches, keep=keep)


@pytest.mark.parametrize("text", ["fc", "=8", "fc=", "fc=x", "fc=-1", "", "fc=8,,"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(AdrlGymError, match="give a pattern of layer names and its bits, for example fc=8"):
        parse_keep([text])


def test_the_last_pattern_counts() -> None:
    keep = parse_keep(["*c*=2", "fc?=8,fc1=4"])
    assert match_keep(keep, ["stem", "conv", "fc1", "fc2"]) == {1: 2, 2: 4, 3: 8}


def test_tested_configurations_keep_what_is_kept() -> None:
    assert check_bits((8, 2), 2, 1, 4, {0: 8}) == (8, 2)
    with pytest.raises(AdrlGymError, match="layer 0: 4 bits, but this problem keeps it at 8"):
        check_bits((4, 2), 2, 1, 4, {0: 8})
