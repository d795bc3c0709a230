"""Budgets of other kinds than the size, on the command line and in the run's files."""

import importlib
import json
import re
from pathlib import Path

import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import SearchResult, load_history
from adrl_gym.costs import limits_of
from adrl_gym.layers import find_layers
from commands import arguments
from made_tables import made_table

pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")


def command(output: Path, budget: str, **changes: object) -> list[str]:
    """Arguments of a search, whose budget may be of several words."""
    given = arguments(output, cache="none", **changes)
    at = given.index("--budget")
    return [*given[: at + 1], *budget.split(), *given[at + 2 :]]


@pytest.fixture(scope="module")
def table(scripts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_env = importlib.import_module("tiny_env")
    layers = find_layers(tiny_env.network.eval(), tuple(tiny_env.images.shape[1:]))
    return made_table(layers, tmp_path_factory.mktemp("table") / "table.csv")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("adrl", {"profile_images": 20}),
        ("haq", {}),
        ("sb3", {"algo": "ppo"}),
        *(("search", {"method": m}) for m in ("uniform", "random", "greedy", "ip", "local", "tpe")),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_every_agent_keeps_two_budgets(
    tmp_path: Path, table: Path, name: str, more: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    given = command(tmp_path / "run", "latency=0.2 bitops=0.1", cost_table=table, **more)
    assert run_command(name, given) == 0
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert result.options["budget"] == {"bitops": 0.1, "latency": 0.2}
    assert result.options["cost_table"] == str(table)
    assert result.cost_ratios is not None
    assert list(result.cost_ratios) == ["bitops", "latency"]
    for episode in load_history(tmp_path / "run" / "episodes.csv"):
        ratios = dict(part.split("=") for part in episode.cost_ratios.split())
        assert float(ratios["bitops"]) <= 0.1
        assert float(ratios["latency"]) <= 0.2
    assert re.search(
        r"of the bit operations in 32 x 32 bits, 0\.[\d]+ of the float network's latency", capsys.readouterr().out
    )


def test_another_budget_from_a_finished_run(tmp_path: Path, table: Path) -> None:
    assert run_command("search", command(tmp_path / "run", "bitops=0.1", method="ip")) == 0
    folder = tmp_path / "other"
    budget = ["--budget", "size=0.08", "latency=0.15", "--cost-table", str(table), "--episodes", "2"]
    assert run_command("budget", [str(tmp_path / "run"), *budget, "--cache", "none", "--output", str(folder)]) == 0
    result = SearchResult.load(folder / "result.json")
    assert result.options["budget"] == {"size": 0.08, "latency": 0.15}
    assert result.cost_ratios is not None
    limits = limits_of(result.options["budget"])
    assert all(result.cost_ratios[kind] <= limit for kind, limit in limits.items())
    assert (
        run_command("budget", [str(folder), "--budget", "0.06", "--cache", "none", "--output", str(folder / "b")]) == 0
    )
    plain = json.loads((folder / "b" / "result.json").read_text())
    assert (plain["options"]["budget"], "cost_ratios" in plain) == (0.06, False)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            "bitops=0.001",
            "a budget of 0.001 times the bit operations in 32 x 32 bits: the smallest possible is 0.03125 ",
        ),
        (
            "size=0.01 bitops=0.01",
            "times the 32-bit size: the smallest possible is .*, and none a budget of 0.01 times the",
        ),
        ("latency=0.5", "a budget of latency needs a table of the hardware: give cost_table.*--cost-table"),
        ("flops=0.5", "unknown kind of budget 'flops': choose one of size, bitops, latency, energy, memory"),
        ("bitops=16", r"budget bitops must be in \(0, 1\], got 16: give the share of the bit operations"),
    ],
)
def test_budgets_that_are_refused(
    tmp_path: Path, budget: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("search", command(tmp_path / "run", budget, method="ip")) == 2
    told = capsys.readouterr().err
    assert re.search(message, told), told
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()
