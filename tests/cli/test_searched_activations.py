"""Searches of weights and activations from the command line to the files that follow from them."""

from pathlib import Path

import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import SearchResult, load_history
from adrl_gym.export import read_packed
from commands import arguments

pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")

BUDGET = "bitops=0.02"


def command(output: Path, budget: str = BUDGET, **changes: object) -> list[str]:
    return arguments(output, cache="none", activations="search", budget=budget, **changes)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("adrl", {"profile_images": 20, "episodes": 23}),
        ("adrl", {"indicator": "distance"}),
        ("adrl", {"context": "completed", "profile_images": 20}),
        ("haq", {}),
        ("sb3", {"algo": "dqn"}),
        *(("search", {"method": m}) for m in ("uniform", "random", "greedy", "ip", "local", "tpe")),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_every_agent_searches_both_bit_widths(tmp_path: Path, name: str, more: dict[str, object]) -> None:
    assert run_command(name, command(tmp_path / "run", BUDGET, **more)) == 0
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert result.activation_bits is not None
    assert list(result.activation_bits) == list(result.bits)
    first, *others = result.activation_bits.values()
    assert first == 8
    assert all(2 <= b <= 8 for b in others)
    assert result.cost_ratios is not None
    assert result.cost_ratios["bitops"] <= 0.02
    best = " ".join(map(str, [*result.bits.values(), *result.activation_bits.values()]))
    assert best in [episode.bits for episode in load_history(tmp_path / "run" / "episodes.csv")]


def test_a_run_goes_on_and_is_refitted_and_answers_another_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    for episodes in (2, 4):
        assert run_command("adrl", [*command(run, episodes=episodes), "--resume"]) == 0
    assert run_command("adrl", command(tmp_path / "whole", episodes=4)) == 0
    resumed, whole = (load_history(folder / "episodes.csv") for folder in (run, tmp_path / "whole"))
    assert [episode.bits for episode in resumed] == [episode.bits for episode in whole]
    result = SearchResult.load(run / "result.json")
    assert result.activation_bits is not None
    told = capsys.readouterr().out
    assert all(f"{w} x {a}" in told for w, a in zip(result.bits.values(), result.activation_bits.values(), strict=True))
    assert run_command("refit", [str(run)]) == 0
    assert run_command("export", [str(run), "--format", "packed", "--recipe", "refit"]) == 0
    packed = read_packed(run / "refit.safetensors")
    assert [grid.bits for grid in packed.grids.values()] == list(result.activation_bits.values())
    other = ["--budget", "bitops=0.015", "--episodes", "3", "--cache", "none", "--output", str(tmp_path / "other")]
    assert run_command("budget", [str(run), *other]) == 0
    answered = SearchResult.load(tmp_path / "other" / "result.json")
    assert answered.cost_ratios is not None
    assert answered.cost_ratios["bitops"] <= 0.015


def test_a_budget_of_size_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("search", command(tmp_path / "run", "0.0625", method="ip")) == 2
    told = capsys.readouterr().err
    assert "give a limit of bitops or latency or energy" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()
