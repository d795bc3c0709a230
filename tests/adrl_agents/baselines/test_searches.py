"""The searches that do not learn: each finds what it should, within the budget, and can be stopped and repeated."""

import importlib
import itertools
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adrl_agents.baselines.local import neighbours
from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import table_of
from adrl_agents.options import Options, SearchOptions
from adrl_agents.registry import AGENTS, names
from adrl_agents.runs.history import Episode, load_history
from adrl_agents.runs.result import SearchResult
from adrl_agents.search.loop import loop_of
from adrl_agents.search.run import run_search
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.costs import Limits, size_cost
from adrl_gym.datasets.own import own_splits
from adrl_gym.envs.access import problem_of
from adrl_gym.sensitivity.table import SensitivityTable
from commands import ROOT

ALL = names("search")
ENDLESS = ("random", "tpe")
pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")
Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture
def problem(tiny: nn.Module, batches: Batches) -> QuantProblem:
    """81 configurations."""
    return QuantProblem(tiny, own_splits(batches, 300), quantizer="linear", budget=0.1, bits=(2, 4))


def options(method: str, output: Path | None = None, **changes: Any) -> SearchOptions:
    defaults = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "profile_images": 20, "cache": "none"}
    return SearchOptions(method=method, output=output, **{**defaults, **changes})


def search(method: str, output: Path, **changes: Any) -> SearchResult:
    """What the command line does with these options."""
    if method == "exhaustive":
        changes = {"episodes": 1000, **changes}
    return importlib.import_module("adrl_agents.cli.search").main(options(method, output, **changes))


def tried(output: Path) -> list[tuple[int, float, float, str]]:
    """Episode, reward, accuracy and bits of each configuration."""
    return [(e.episode, e.reward, e.accuracy, e.bits) for e in load_history(output / "episodes.csv")]


def proposals_of(problem: QuantProblem, method: str, **changes: Any) -> Proposals:
    env = Mock(unwrapped=Mock(problem=problem))
    made = AGENTS[method].make(env, options(method, **changes))
    assert isinstance(made, Generator)
    return made


def found(problem: QuantProblem, method: str, most: int = 1000, **changes: Any) -> list[tuple[int, ...]]:
    """The configurations that a method tries on a problem, at most so many."""
    proposals = proposals_of(problem, method, images=300, profile_images=300, episodes=1000, **changes)
    configurations = []
    try:
        bits = problem.project(next(proposals))
        while True:
            configurations.append(bits)
            if len(configurations) == most:
                break
            measured = problem.evaluate(bits)
            told = Episode(
                len(configurations), 0, measured.accuracy, 0, 0, 0, measured.agreement, measured.kl, 0, str(bits)
            )
            bits = problem.project(proposals.send(told))
    except StopIteration:
        pass
    return configurations


def rank(problem: QuantProblem, bits: tuple[int, ...]) -> tuple[float, float]:
    measured = problem.evaluate(bits)
    return -measured.agreement, measured.kl


def test_exhaustive_search_tries_all_that_fits(problem: QuantProblem) -> None:
    fitting = {bits for bits in itertools.product((2, 3, 4), repeat=4) if problem.fits(bits)}
    configurations = found(problem, "exhaustive")
    assert 10 < len(configurations) == len(fitting) < 81
    assert set(configurations) == fitting


def test_local_search_ends_where_no_swap_helps(problem: QuantProblem) -> None:
    configurations = found(problem, "local")
    best = min(configurations, key=lambda bits: rank(problem, bits))
    assert configurations[0] == found(problem, "ip")[0]
    assert rank(problem, best) <= rank(problem, configurations[0])
    table = SensitivityTable.of(problem, np.zeros((4, 3)))
    around = [table.bits(columns) for columns in neighbours(table, np.array(best) - 2)]
    assert all(rank(problem, bits) >= rank(problem, best) for bits in around)


def test_on_a_tiny_network_searches_find_the_best_of_all(problem: QuantProblem) -> None:
    best = min(rank(problem, bits) for bits in found(problem, "exhaustive"))
    assert min(rank(problem, bits) for bits in found(problem, "local")) == best
    assert min(rank(problem, bits) for bits in found(problem, "tpe", most=60)) == best


@pytest.mark.parametrize("method", ["ip", "greedy", "local"])
def test_the_loss_is_a_score_of_the_table(tmp_path: Path, problem: QuantProblem, method: str) -> None:
    result = search(method, tmp_path / "run", score="loss", episodes=1)
    assert (result.status, result.options["score"]) == ("finished", "loss")
    table = table_of(problem, sensitivity="measured", score="loss", profile_images=300, evaluations=None)
    alone = [problem.evaluate(problem.with_fixed([b, None, None, None])).loss for b in (2, 3, 4)]
    assert table.costs[0].tolist() == pytest.approx(alone)
    assert found(problem, "ip", score="loss")[0] == table.solve()


def test_uniform_bits_come_first_and_then_what_is_left_of_the_budget(problem: QuantProblem) -> None:
    assert found(problem, "uniform") == [(3, 3, 3, 3), problem.project((4, 4, 4, 4))]
    problem.limits = Limits([(size_cost(problem.parameters), 3 / 32)], problem.min_bits)
    assert found(problem, "uniform") == [(3, 3, 3, 3)]


@pytest.mark.parametrize("method", ALL)
@settings(deadline=None, max_examples=10)
@given(budget=st.floats(2 / 32, 0.25), seed=st.integers(0, 100))
def test_every_configuration_fits_the_budget(method: str, budget: float, seed: int) -> None:
    tiny_env = importlib.import_module("tiny_env")
    splits = own_splits([(tiny_env.images, tiny_env.labels)], 20)
    problem = QuantProblem(tiny_env.network, splits, quantizer="linear", budget=budget, bits=(2, 4))
    first = next(proposals_of(problem, method, seed=seed, episodes=1000))
    if method in ("greedy", "ip", "local", "exhaustive"):
        assert problem.size_ratio(first) <= budget  # before anything is projected
    assert all(problem.size_ratio(bits) <= budget for bits in found(problem, method, most=5, seed=seed))


def test_the_command_line_leaves_a_run_like_the_agents_do(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "agents/search.py", "--method", "ip", "--env-id", "tiny_env:Tiny-v0"]
    flags = ["--images", "40", "--budget", "0.1", "--output", str(tmp_path / "run")]
    done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "result.json",
        "episodes.csv",
        "bits.png",
        "curve.png",
        "sensitivity.png",
    }
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert (result.agent, result.status, result.episodes) == ("ip", "finished", 1)
    assert 1 < result.evaluations < 4 * 8 + 1  # the table, where only the rest of the network runs, and what it says
    assert re.search(r"conv1 .* \d ", done.stdout)


@pytest.mark.parametrize("method", [m for m in ALL if m != "exhaustive"])
def test_evaluations_are_not_exceeded(tmp_path: Path, method: str) -> None:
    result = search(method, tmp_path / "run", evaluations=20, episodes=1000)
    assert result.evaluations <= 20
    assert result.status == "finished"
    if method in ENDLESS:
        assert result.evaluations > 19


def test_agents_keep_to_their_evaluations_too(tmp_path: Path) -> None:
    given = Options(env_id="tiny_env:Tiny-v0", budget=0.1, images=40, evaluations=9, output=tmp_path / "run")
    result = importlib.import_module("adrl_agents.cli.haq").main(given)
    assert (result.evaluations, result.status) == (9, "finished")


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("ip", {"evaluations": 10}, r"takes more than the 9 evaluations.*raise the limit, or profile on fewer images"),
        ("exhaustive", {"episodes": 300}, r"episodes must be at least 810, got 300"),
        ("exhaustive", {"evaluations": 300}, r"evaluations must be at least 810, got 300"),
        (
            "exhaustive",
            {"env_id": "adrl_gym/ResNet20-Cifar10-v0", "quantizer": "linear"},
            r"at most 10,000 configurations, and 8 bit-widths in 20 layers make 1.15e\+18",
        ),
        ("random", {"evaluations": 0}, "evaluations must be at least 1, got 0"),
        ("ip", {"profile_images": 0}, "profile_images must be at least 1, got 0"),
        (
            "ip",
            {"env_id": "adrl_gym/CifarNet-Cifar10-v0", "quantizer": "linear", "data": "data-free", "score": "loss"},
            "the score loss needs labels, and data-free images have none: choose kl or agreement",
        ),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, method: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        search(method, tmp_path / "run", **{"episodes": 1000, **changes})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ALL)
def test_the_same_seed_gives_the_same_search(tmp_path: Path, method: str) -> None:
    changes: dict[str, Any] = {"episodes": 15} if method != "exhaustive" else {"budget": 0.04}
    first, again = (search(method, tmp_path / name, seed=1, **changes) for name in ("a", "b"))
    assert tried(tmp_path / "a") == tried(tmp_path / "b")
    assert (first.bits, first.evaluations) == (again.bits, again.evaluations)
    if method in ENDLESS:
        search(method, tmp_path / "c", seed=2, **changes)
        assert tried(tmp_path / "a") != tried(tmp_path / "c")


@pytest.mark.parametrize("method", ["random", "tpe", "local", "uniform"])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Path, method: str) -> None:
    whole = search(method, tmp_path / "whole", episodes=14)
    search(method, tmp_path / "parts", episodes=1)
    parts = search(method, tmp_path / "parts", episodes=14, resume=True)
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert len(tried(tmp_path / "whole")) == {"local": 9, "uniform": 2}.get(method, 14)
    assert (parts.bits, parts.evaluations) == (whole.bits, whole.evaluations)


def test_limits_can_only_be_raised_on_resume(tmp_path: Path) -> None:
    search("random", tmp_path / "run", evaluations=5)
    with pytest.raises(AdrlGymError, match="--evaluations 5: resuming can only raise them, not lower them to 4"):
        search("random", tmp_path / "run", evaluations=4, resume=True)
    assert search("random", tmp_path / "run", evaluations=6, resume=True).evaluations == 6
    assert search("random", tmp_path / "run", episodes=300, resume=True).episodes == 300


def test_a_history_of_another_program_is_not_resumed(tmp_path: Path) -> None:
    search("random", tmp_path / "run", episodes=3)
    path = tmp_path / "run" / "episodes.csv"
    path.write_text(path.read_text().replace(tried(tmp_path / "run")[1][3], "1 1 1 1"))
    with pytest.raises(AdrlGymError, match=r"configuration 2 is not the one that would be tried now"):
        search("random", tmp_path / "run", episodes=5, resume=True)


def test_what_cannot_search_is_told_what_can() -> None:
    with pytest.raises(AdrlGymError, match=r"a list cannot search: .*a BaseAlgorithm.*, or a generator"):
        loop_of([(2, 2, 2, 2)], gym.Env())


def test_an_agent_is_reached_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and an entry in the registry are all that a new search takes."""
    spec = replace(AGENTS["uniform"], name="mine", make=lambda env, _: iter_bits(problem_of(env)))
    monkeypatch.setitem(AGENTS, "mine", spec)
    result = run_search("mine", options("uniform", tmp_path / "run"))
    assert (result.agent, set(result.bits.values())) == ("mine", {2})


def iter_bits(problem: QuantProblem) -> Proposals:
    yield [2] * len(problem.searchable)
