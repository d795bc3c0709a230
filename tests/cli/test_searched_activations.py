"""Searches of weights and activations from the command line to the files that follow from them."""

from pathlib import Path

import onnx
import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import SearchResult, load_history
from adrl_gym.export import read_packed
from adrl_gym.export.onnx_fused import integer_operators
from commands import OWN, arguments
from pictures import make_pictures

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


def test_what_is_found_is_finetuned_and_exported_with_integers(tmp_path: Path) -> None:
    for split, each in (("train", 12), ("val", 2)):
        make_pictures(tmp_path / split, 3, each)
    run, data = tmp_path / "run", ["--data-root", str(tmp_path)]
    given = ["--network", f"{OWN / 'branches.py'}:make", "--activations", "search", "--budget", "bitops=0.03"]
    given += ["--images", "12", "--episodes", "1", "--cache", "none", "--output", str(run)]
    assert run_command("haq", [*given, *data]) == 0
    assert run_command("finetune", [str(run), "--epochs", "1", "--batch-size", "12", *data]) == 0
    found = SearchResult.load(run / "result.json").activation_bits
    assert found is not None
    trained = {name: grid.bits for name, grid in read_packed(run / "finetuned.safetensors").grids.items()}
    assert trained == {**found, "right": found["left"]}, "the two share a weight"
    assert run_command("export", [str(run), "--format", "onnx", "--recipe", "finetuned", *data]) == 0
    assert {"Conv", "Gemm"} <= integer_operators(run / "network.onnx").integer.keys()
    stored = [constant.name for constant in onnx.load(run / "network.onnx").graph.initializer]
    assert {"left.bias_integers", "right.bias_integers"} <= set(stored)


def test_a_budget_of_size_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("search", command(tmp_path / "run", "0.0625", method="ip")) == 2
    told = capsys.readouterr().err
    assert "give a limit of bitops or latency or energy" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()
