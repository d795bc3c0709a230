"""The command ``pretrain``: its files, going on, logs, and a search from its policy."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import adrl_agents.pretrain.log as log
import adrl_agents.pretrain.run as run
from adrl_agents.adrl.family import load_policy
from adrl_agents.cli import main
from adrl_agents.pretrain.problems import family_problems
from adrl_gym import AdrlGymError
from commands import OWN, arguments
from families import chain_problem

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(autouse=True)
def tiny_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "family_problems", lambda *_, **__: [chain_problem(0), chain_problem(1)])


def command(output: Path, **changes: object) -> list[str]:
    options = {"networks": "any", "episodes": 6, "warmup-episodes": 2, "output": output, **changes}
    return ["pretrain", *(str(part) for name, value in options.items() for part in ([f"--{name}", value] if value is not
            True else [f"--{name}"]))]  # fmt: skip


def history(output: Path) -> list[dict[str, str]]:
    with (output / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_leaves_a_policy_and_can_be_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    assert main(command(output, tensorboard=True)) == 0
    assert "the knapsack's is 0" in capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    assert names == {"policy.zip", "agent.zip", "episodes.csv", "curve.png", "options.json", "tensorboard"}
    first = history(output)
    assert [row["episode"] for row in first] == ["1", "2", "3", "4", "5", "6"]
    assert {row["network"] for row in first} == {"chain0", "chain1"}
    assert load_policy(output / "policy.zip").decision == "correction"

    assert main(command(output)) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main(command(output, resume=True, k=3)) == 2
    assert "belongs to a training with k 1, here 3" in capsys.readouterr().err
    assert main(command(output, resume=True, episodes=9)) == 0
    assert history(output)[:6] == first
    assert len(history(output)) == 9


def test_a_kill_between_two_files_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_: object) -> bytes:
        raise RuntimeError("killed")

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(run, "png", kill)
        with pytest.raises(RuntimeError, match="killed"):
            main(command(output, episodes=3))
    assert main(command(output, episodes=3, resume=True)) == 0
    assert (output / "curve.png").exists()
    assert load_policy(output / "policy.zip").decision == "correction"


def test_a_wandb_run_has_the_knapsack_s_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        define_metric=lambda *_, **__: None, log=logged.append, finish=lambda **_: None, offline=False, url="somewhere"
    )
    monkeypatch.setattr(log, "import_wandb", lambda: SimpleNamespace(Image=str))
    monkeypatch.setattr(log, "start_run", lambda *_, **__: fake)
    assert main(command(tmp_path / "run", track=True)) == 0
    assert [row["episode"] for row in logged[:-1]] == [1, 2, 3, 4, 5, 6]
    assert all(row["pretrain/knapsack"] == 0 for row in logged[:-1])
    assert {"pretrain/reward", "pretrain/mean_reward"} <= set(logged[0])
    assert "curve" in logged[-1]


def test_a_search_from_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path / "policy", episodes=2)) == 0
    policy = tmp_path / "policy" / "policy.zip"
    searched = tmp_path / "search"
    assert main(["adrl", *arguments(searched, policy=policy, cache="none")]) == 0
    assert json.loads((searched / "result.json").read_text())["options"]["policy"] == str(policy)
    capsys.readouterr()
    assert main(["adrl", *arguments(tmp_path / "other", policy=tmp_path / "none.zip", cache="none")]) == 2
    error = capsys.readouterr().err
    assert "there is no policy" in error
    assert "--policy" in error
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1, got 0"),
        ({"budgets": 2}, "budget must be in (0, 1], got 2"),
        ({"sigma": 0}, "sigma must be above 0"),
    ],
)
def test_bad_options_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    assert main(command(tmp_path / "run", **changes)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_problems_are_each_network_with_each_quantizer(tmp_path: Path) -> None:
    found = family_problems(["cifarnet"], ["gptq", "linear"], data="data-free", images=16)
    assert [(problem.name, problem.quantizer) for problem in found] == [("cifarnet", "gptq"), ("cifarnet", "linear")]
    assert found[0].splits.test is None
    with pytest.raises(AdrlGymError, match="names no function"):
        family_problems([str(OWN / "branches.py")], ["gptq"], images=16)
    with pytest.raises(AdrlGymError, match=r"no .*cifarnet\.safetensors|cifarnet\.safetensors"):
        family_problems(["cifarnet"], ["gptq"], weights=tmp_path, data="data-free", images=16)
