"""Stable-Baselines3's own agents in this package's environments."""

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import DQN, PPO

from adrl_agents.options import SB3Options
from adrl_agents.registry import names
from adrl_agents.runs.history import load_history
from adrl_agents.runs.result import SearchResult
from adrl_agents.sb3 import PPO_EPISODES, SB3_ALGORITHMS
from commands import ROOT

ALL = names("sb3")
pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")


def train(algo: str, output: Path, **changes: Any) -> SearchResult:
    options = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "output": output, "cache": "none", **changes}
    return importlib.import_module("adrl_agents.cli.sb3").main(SB3Options(algo=algo, **options))


def tried(output: Path) -> list[tuple[int, float, float, str]]:
    """Episode, reward, accuracy and bits of each configuration."""
    return [(e.episode, e.reward, e.accuracy, e.bits) for e in load_history(output / "episodes.csv")]


@pytest.mark.parametrize("algo", ALL)
def test_a_stopped_agent_goes_on_as_if_nothing_had_happened(tmp_path: Path, algo: str) -> None:
    whole = train(algo, tmp_path / "whole", episodes=40)
    assert (whole.agent, whole.status, whole.episodes) == (algo, "finished", 40)
    assert whole.size_ratio <= 0.1
    stopped = train(algo, tmp_path / "parts", episodes=40, evaluations=18)
    assert 18 <= stopped.episodes < 40  # where it stopped need not be where PPO learned last
    assert 17 < stopped.evaluations <= 18
    parts = train(algo, tmp_path / "parts", episodes=40, resume=True)
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert (parts.bits, parts.episodes) == (whole.bits, 40)


def test_agents_begin_to_learn_within_a_short_search(tmp_path: Path) -> None:
    train("ppo", tmp_path / "ppo", episodes=2 * PPO_EPISODES + 3)
    ppo = PPO.load(tmp_path / "ppo" / "agent.zip")
    assert ppo.num_timesteps == 2 * PPO_EPISODES * 4
    assert ppo._n_updates == 2 * ppo.n_epochs
    train("dqn", tmp_path / "dqn", episodes=40)
    dqn = DQN.load(tmp_path / "dqn" / "agent.zip")
    assert dqn._n_updates > 0
    assert dqn.action_space.shape == ()


def test_train_ddpg_is_the_shortest_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = train("ddpg", tmp_path / "run", episodes=30)
    given = (
        f"--env-id tiny_env:Tiny-v0 --budget 0.1 --images 40 --episodes 30 --output {tmp_path / 'short'} --cache none"
    )
    monkeypatch.setattr(sys, "argv", ["train_ddpg.py", *given.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "agents" / "train_ddpg.py"), run_name="__main__")
    assert ended.value.code == 0
    short = SearchResult.load(tmp_path / "short" / "result.json")
    assert tried(tmp_path / "run") == tried(tmp_path / "short")
    assert (short.agent, short.options) == (there.agent, there.options)


def test_every_algorithm_is_registered() -> None:
    assert set(SB3_ALGORITHMS) == set(ALL)
