"""A search that is killed or stopped goes on as if nothing had happened."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gymnasium.wrappers import TimeLimit

from adrl_agents import interrupts
from adrl_agents.options import ADRLOptions, Options, SB3Options
from adrl_agents.runs.checkpoint import MEMBER
from adrl_agents.runs.history import load_history
from adrl_agents.runs.plots import draw_curve
from adrl_agents.runs.result import SearchResult
from adrl_agents.runs.summary import accuracy
from adrl_agents.sb3 import make_sb3_agent
from adrl_agents.search import run_search
from adrl_gym import AdrlGymError
from commands import ROOT, search_with

pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")


def options(kind: type[Options], output: Path, **changes: Any) -> Any:
    values = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "evaluations": None, "output": output}
    return kind(**{**values, **changes})


def tried(output: Path) -> list[tuple[int, float, float, float, str]]:
    """Episode, reward, accuracy, best accuracy so far and bits of each configuration."""
    return [(e.episode, e.reward, e.accuracy, e.best_accuracy, e.bits) for e in load_history(output / "episodes.csv")]


@pytest.mark.parametrize(("script", "kind"), [("adrl", ADRLOptions), ("haq", Options), ("sb3", SB3Options)])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Path, script: str, kind: type[Options]) -> None:
    whole = search_with(script, options(kind, tmp_path / "whole", episodes=30, cache="none"))
    search_with(script, options(kind, tmp_path / "parts", episodes=27, cache="none"))
    parts = search_with(script, options(kind, tmp_path / "parts", episodes=30, cache="none", resume=True))
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert (parts.bits, parts.search_accuracy, parts.episodes) == (whole.bits, whole.search_accuracy, 30)
    assert parts.options == whole.options
    assert parts.evaluations >= whole.evaluations  # the cache began anew, so some are done twice


def test_processor_time_goes_on_and_stays_unknown_where_it_was_not_measured(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = search_with("haq", options(Options, folder, episodes=3))
    second = search_with("haq", options(Options, folder, episodes=6, resume=True))
    spent = [episode.cpu_seconds for episode in load_history(folder / "episodes.csv")]
    assert 0 < spent[0] < spent[2] == first.cpu_seconds
    assert first.cpu_seconds < spent[3] < spent[5] == second.cpu_seconds
    history, result = folder / "episodes.csv", folder / "result.json"  # as version 0.1 left them
    history.write_text("".join(f"{line.rsplit(',', 2)[0]}\n" for line in history.read_text().splitlines()))
    result.write_text("".join(line for line in result.read_text().splitlines(True) if "cpu_seconds" not in line))
    third = search_with("haq", options(Options, folder, episodes=8, resume=True))
    assert (third.cpu_seconds, third.episodes) == (None, 8)
    assert "cpu_seconds" not in result.read_text()


def test_a_killed_search_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "killed"
    flags = ["--env-id", "tiny_env:Tiny-v0", "--budget", "0.1", "--images", "40", "--episodes", "24"]
    command = [sys.executable, "agents/train_haq.py", *flags, "--output", str(output)]
    environment = {**os.environ, "TINY_SECONDS": "0.05"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 300
        try:
            while not (output / "episodes.csv").exists() or len(tried(output)) < 4:
                assert time.monotonic() < end, "the search does not begin"
                time.sleep(0.01)
        finally:
            process.kill()

    killed = SearchResult.load(output / "result.json")
    best = max(episode.agreement for episode in load_history(output / "episodes.csv"))
    assert killed.status == "running"
    assert 4 <= killed.episodes < 24
    assert killed.search_agreement >= best
    result = search_with("haq", options(Options, output, episodes=24, resume=True))
    assert (result.status, result.episodes) == ("finished", 24)
    search_with("haq", options(Options, tmp_path / "whole", episodes=24))
    assert tried(output) == tried(tmp_path / "whole")


def test_the_best_of_episodes_that_the_agent_does_not_know_is_kept(tmp_path: Path) -> None:
    """Killed between two savings of the agent: later rows are tried again, but nothing found is lost."""
    output = tmp_path / "run"
    first = search_with("haq", options(Options, output, episodes=3))
    agent = (output / "agent.zip").read_bytes()
    second = search_with("haq", options(Options, output, episodes=20, resume=True))
    (output / "agent.zip").write_bytes(agent)  # as it was after 3 episodes
    third = search_with("haq", options(Options, output, episodes=21, resume=True))
    search_with("haq", options(Options, tmp_path / "whole", episodes=21))
    assert tried(output) == tried(tmp_path / "whole")
    assert first.search_agreement <= second.search_agreement <= third.search_agreement
    assert third.episodes == 21
    assert [episode for episode, *_ in tried(output)] == list(range(1, 22))


def test_cache_hits_after_a_resume_were_counted_the_first_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two savings of the agent, and once more while it repeats what it has forgotten."""

    def part(name: str, episodes: int) -> SearchResult:
        cache = str(tmp_path / f"{name}.sqlite")
        given = options(Options, tmp_path / name, episodes=episodes, evaluations=16, cache=cache, resume=True)
        return search_with("haq", given)

    def press() -> None:
        raise KeyboardInterrupt

    whole = part("whole", 16)
    part("parts", 3)
    agent = (tmp_path / "parts" / "agent.zip").read_bytes()
    part("parts", 12)
    (tmp_path / "parts" / "agent.zip").write_bytes(agent)
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "raise_if_pressed", press)
        with pytest.raises(KeyboardInterrupt):
            part("parts", 16)
    assert len(tried(tmp_path / "parts")) == 12, "nothing is forgotten that will be tried again"
    parts = part("parts", 16)
    counts = [[e.evaluations for e in load_history(tmp_path / name / "episodes.csv")] for name in ("whole", "parts")]
    assert counts[0] == counts[1]
    assert parts.episodes == whole.episodes > 12
    assert (parts.evaluations, parts.memo_misses) == (whole.evaluations, whole.memo_misses)


def test_resuming_nothing_begins_anew(tmp_path: Path) -> None:
    assert search_with("haq", options(Options, tmp_path / "new", episodes=2, resume=True)).episodes == 2


def test_resuming_a_finished_run_shows_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = search_with("haq", options(Options, tmp_path / "run", episodes=2))
    capsys.readouterr()
    assert search_with("haq", options(Options, tmp_path / "run", episodes=2, resume=True)) == first
    shown = capsys.readouterr().out
    assert "raise --episodes" in shown
    assert "conv1" in shown


def test_other_weights_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "run"
    search_with("haq", options(Options, output, episodes=2))
    text = (output / "result.json").read_text()
    checkpoint = SearchResult.from_json(text).checkpoint
    (output / "result.json").write_text(text.replace(checkpoint, "0" * len(checkpoint)))
    with pytest.raises(AdrlGymError, match="made with other weights of the network"):
        search_with("haq", options(Options, output, episodes=3, resume=True))


@pytest.mark.parametrize("where", ["all", "in the middle of what is deflated"])
def test_a_damaged_agent_is_named(tmp_path: Path, where: str) -> None:
    output = tmp_path / "run"
    search_with("haq", options(Options, output, episodes=2))
    agent = output / "agent.zip"
    content = bytearray(b"PK\x03\x04 and no more" if where == "all" else agent.read_bytes())
    if where != "all":
        with zipfile.ZipFile(agent) as file:
            start = file.getinfo(MEMBER).header_offset + 100
        content[start : start + 16] = b"\xff" * 16
    agent.write_bytes(content)
    with pytest.raises(AdrlGymError, match=r"cannot resume from .*agent\.zip"):
        search_with("haq", options(Options, output, episodes=3, resume=True))


def test_a_search_without_an_episode_yet_can_be_drawn(tmp_path: Path) -> None:
    """Interrupted twice before its agent was first saved: a best is known, and no episode."""
    assert draw_curve(search_with("haq", options(Options, tmp_path / "run", episodes=1)), []).axes


def test_what_a_data_free_search_was_tested_on_is_told(tmp_path: Path) -> None:
    result = search_with("haq", options(Options, tmp_path / "run", episodes=1))
    free = result.model_copy(update={"data": "data-free", "test_accuracy": None})
    assert accuracy(free).startswith("agreement with the float network")
    no_others = {"test_agreement": None, "test_kl": None, "test_loss": None}  # as in a version before 0.2
    tested = free.model_copy(update={"test_accuracy": 86.1, "float_test_accuracy": 91.28, **no_others})
    assert accuracy(tested) == "test accuracy 86.10 % (float 91.28 %)"
    whole = tested.model_copy(update={"test_agreement": 90.5, "test_kl": 0.06514, "test_loss": 0.4})
    assert accuracy(whole).endswith("(float 91.28 %), agreement 90.50 %, KL 0.0651, loss 0.4000")


def test_a_wrapper_that_ends_episodes_early_is_named(tmp_path: Path) -> None:
    given = options(Options, tmp_path / "run", episodes=2)
    with pytest.raises(AdrlGymError, match=r"it needs 4, one for each layer .* such as TimeLimit"):
        run_search("ddpg", given, lambda env: make_sb3_agent("ddpg", TimeLimit(env, 3), 0))
