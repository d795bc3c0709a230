"""The commands that search: what a user sees, and the files of a run."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from adrl_agents import ADRL, HAQ
from adrl_agents.options import Options, SB3Options
from adrl_agents.runs.result import SearchResult
from commands import arguments, run_script, search_with

pytestmark = pytest.mark.usefixtures("scripts")

FILES = {"result.json", "episodes.csv", "agent.zip", "bits.png", "curve.png", "sensitivity.png"}


def test_a_run_leaves_its_folder_and_prints_the_bits(tmp_path: Path) -> None:
    output = tmp_path / "run"
    done = run_script("train_adrl", arguments(output, episodes=22, evaluations=200, k=2, seed=5, profile_images=20))
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in output.iterdir()} == FILES

    result = SearchResult.load(output / "result.json")
    assert (result.agent, result.seed, result.status, result.episodes) == ("adrl", 5, "finished", 22)
    assert result.options["k"] == 2
    assert result.data == "own"
    assert result.size_ratio <= 0.1
    assert set(result.versions) >= {"python", "torch", "numpy", "gymnasium", "stable_baselines3", "adrl_gym"}
    assert result.memo_misses > 0

    with (output / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["episode", "reward", "accuracy", "best_accuracy", "evaluations", "seconds"]
    assert [int(row["episode"]) for row in rows] == list(range(1, 23))
    accuracies = [float(row["accuracy"]) for row in rows]
    ranks = [(float(row["agreement"]), -float(row["kl"])) for row in rows]
    best_so_far = [max(range(i + 1), key=lambda j: ranks[j]) for i in range(22)]
    assert [float(row["best_accuracy"]) for row in rows] == [accuracies[i] for i in best_so_far]
    assert [str(bits) for bits in result.bits.values()] == rows[best_so_far[-1]]["bits"].split()
    assert result.search_accuracy == accuracies[best_so_far[-1]]
    assert result.seconds == float(rows[-1]["seconds"])
    assert len(set(accuracies)) > 3, "the search tried different configurations"
    assert float(rows[-1]["reward"]) == pytest.approx(0.1 * (accuracies[-1] - result.float_search_accuracy), abs=1e-5)

    for layer, bits in result.bits.items():
        assert re.search(rf" {bits} +=+ +{layer} ", done.stdout)
    assert "4 layers, 996 weights" in done.stdout
    assert "own data: 40 search images" in done.stdout

    for name in ("bits.png", "curve.png"):
        with Image.open(output / name) as picture:
            assert picture.width >= 1000
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
    assert ADRL.load(output / "agent.zip").k == 2


@pytest.mark.parametrize("agent", ["haq", "ddpg"])
def test_the_baselines_share_the_options(tmp_path: Path, agent: str) -> None:
    result = search_with(
        {"haq": "haq", "ddpg": "sb3"}[agent],
        {"haq": Options, "ddpg": SB3Options}[agent](
            env_id="tiny_env:Tiny-v0", budget=0.08, images=40, episodes=22, output=tmp_path / "run"
        ),
    )
    assert result.agent == agent
    assert result == SearchResult.load(tmp_path / "run" / "result.json")
    assert result.size_ratio <= 0.08


def test_the_same_seed_gives_the_same_search(tmp_path: Path) -> None:
    def bits(seed: int, folder: str) -> list[str]:
        options = Options(env_id="tiny_env:Tiny-v0", images=40, episodes=22, seed=seed, output=tmp_path / folder)
        search_with("haq", options)
        with (tmp_path / folder / "episodes.csv").open(newline="") as file:
            return [row["bits"] for row in csv.DictReader(file)]

    assert bits(1, "a") == bits(1, "b") != bits(2, "c")


def test_early_termination_ends_a_settled_search(tmp_path: Path) -> None:
    options = Options(
        env_id="tiny_env:Tiny-v0", images=40, episodes=50, window=5, tolerance=1000.0, output=tmp_path / "run"
    )
    result = search_with("haq", options)
    assert (result.episodes, result.status) == (5, "finished")
    agent = HAQ.load(tmp_path / "run" / "agent.zip")
    assert agent._episode_num == 5, "the agent is saved as it was after the last episode"
    assert search_with("haq", dataclasses.replace(options, episodes=60, resume=True)).episodes == 6


def test_a_result_on_the_shipped_network_needs_no_download(tmp_path: Path) -> None:
    options = Options(
        env_id="adrl_gym/CifarNet-Cifar10-v0",
        quantizer="linear",
        images=20,
        episodes=2,
        output=tmp_path / "run",
    )
    result = search_with("haq", options)
    assert result.data == "data-free"
    assert list(result.bits) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert "test_accuracy" not in json.loads((tmp_path / "run" / "result.json").read_text())
