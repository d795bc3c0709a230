"""A run folder that version 0.1 left: resumed, refitted, exported, and asked for another budget."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from adrl_agents import ADRL
from adrl_agents.cli import run as run_command
from adrl_agents.runs import SearchResult, load_history
from adrl_gym.export import load_packed
from adrl_gym.models import load_network

# 22 episodes of ADRL with hidden layers of 8 units, which made agent.zip small.
OLD = Path(__file__).parents[2] / "support" / "old_run"
NEXT = ["8 5 3 3 5"] * 3  # what version 0.1 itself went on to try
OPTIONS = ["--env-id", "adrl_gym/CifarNet-Cifar10-v0", "--data", "data-free", "--images", "40", "--budget", "0.1"]
OPTIONS += ["--quantizer", "linear", "--profile-images", "20", "--memo", "none", "--recipe", "direct"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "run")
    return tmp_path / "run"


def test_it_goes_on_as_the_old_version_did(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_history(run / "episodes.csv")
    assert run_command("adrl", [*OPTIONS, "--output", str(run), "--episodes", "25", "--resume"]) == 0
    told = capsys.readouterr()
    assert told.err == (
        "warning: --memo is now --cache\n"
        "warning: --recipe is now --calibration, direct is now independent, refit is now sequential\n"
    )
    assert f"resuming {run} after 22 of 25 episodes" in told.out
    after = load_history(run / "episodes.csv")
    assert after[:22] == before
    assert [episode.bits for episode in after[22:]] == NEXT


def test_its_agent_is_loaded_by_its_class() -> None:
    options: dict[str, Any] = {"data": "data-free", "images": 40, "budget": 0.1, "quantizer": "linear"}
    env = gym.make("adrl_gym/CifarNet-Cifar10-v0", **options)
    agent = ADRL.load(OLD / "agent.zip", env=env)
    with zipfile.ZipFile(OLD / "agent.zip") as file:
        assert agent._noise_scale == json.loads(file.read("data"))["_boldness"]
    observation, _ = env.reset()
    action, _ = agent.predict(observation)
    assert env.action_space.contains(action)
    agent.learn(5, reset_num_timesteps=False)
    assert agent._episode_num == 23


def test_it_is_refitted_and_exported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = SearchResult.load(run / "result.json")
    assert run_command("refit", [str(run), "--positions", "100"]) == 0
    assert json.loads((run / "refit.json").read_text())["bits"] == found.bits
    assert run_command("export", [str(run), "--format", "packed", "--recipe", "refit"]) == 0
    network = load_packed(run / "packed.safetensors", load_network("cifarnet").network)
    assert len(network.get_parameter("fc1.weight")[0].unique()) <= 2 ** found.bits["fc1"]


def test_it_answers_for_another_budget(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(run), "--budget", "0.08", "--episodes", "2", "--cache", "none", "--output", str(run.parent / "new")]
    assert run_command("budget", given) == 0
    assert SearchResult.load(run.parent / "new" / "result.json").size_ratio <= 0.08


def test_the_old_recipe_is_read_as_calibration(run: Path) -> None:
    text = (run / "result.json").read_text().replace('"quantizer"', '"recipe": "refit",\n    "quantizer"')
    (run / "result.json").write_text(text)
    options = SearchResult.load(run / "result.json").options
    assert options["calibration"] == "sequential"
    assert "recipe" not in options
