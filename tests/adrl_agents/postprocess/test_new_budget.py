"""agents/search.py --from: another budget, answered by a run that is there."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.options import ADRLOptions, Options, SB3Options, SearchOptions
from adrl_agents.postprocess.run import RunOptions, load_run
from adrl_agents.postprocess.trained import decide, load_trained
from adrl_agents.runs.history import load_history
from adrl_agents.runs.result import SearchResult
from adrl_agents.sb3 import make_sb3_agent
from adrl_agents.search import make_env
from commands import ROOT, search_with

TINY: dict[str, Any] = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40}
NOTHING = "evaluated 0 (0.0 evaluations)"
pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")


@pytest.fixture(scope="module")
def searched(scripts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ADRL run, its cache beside it."""
    folder = tmp_path_factory.mktemp("runs") / "adrl"
    search_with("adrl", ADRLOptions(**TINY, episodes=6, k=3, profile_images=20, sensitivity="measured", output=folder))
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy for a test of its own."""
    shutil.copytree(searched.parent, tmp_path / "runs")
    return tmp_path / "runs" / "adrl"


class Command:
    """The command line, without the seconds that a new interpreter takes."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys
        self.out = self.err = ""

    def __call__(self, run: Path, *arguments: object) -> int:
        words = ["--from", str(run), *map(str, arguments)]
        self._capsys.readouterr()
        try:
            return run_command("search", words)
        finally:
            self.out, self.err = self._capsys.readouterr()


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_answers_for_another_budget_and_says_what_it_evaluated(run: Path, search: Command) -> None:
    before = content(run)
    command = [sys.executable, "-W", "error", "agents/search.py", "--from", str(run), "--budget", "0.08"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(run) == before
    output = run.parent / "Tiny-from-adrl-0.08-s0"
    assert set(content(output)) == {"result.json", "episodes.csv", "bits.png", "curve.png", "sensitivity.png"}
    result = SearchResult.load(output / "result.json")
    assert (result.agent, result.status, result.options["from"]) == ("from-adrl", "finished", str(run))
    assert result.size_ratio <= 0.08 == result.options["budget"]
    last = done.stdout.splitlines()[-1]
    known, tried, evaluated = map(
        int, re.findall(r"(\d+) of (\d+) configurations were known; evaluated (\d+) ", last)[0]
    )
    assert (tried, known + evaluated) == (result.episodes, result.episodes)
    assert 0 < evaluated <= 12
    assert result.memo_misses == evaluated, "the one-layer table was known"

    problem = load_run(RunOptions(run=output)).problem
    old = SearchResult.load(run / "result.json")
    projected = problem.evaluate(problem.project(old.config.bits))
    assert (result.search_agreement, -(result.search_kl or 0)) >= (projected.agreement, -projected.kl)

    assert search(run, "--budget", 0.08, "--output", run.parent / "again") == 0
    assert search.out.endswith(f"{tried} of {tried} configurations were known; {NOTHING}\n")
    again = SearchResult.load(run.parent / "again" / "result.json")
    assert (again.bits, again.evaluations, again.memo_misses) == (result.bits, 0, 0)
    configurations = [[e.bits for e in load_history(f / "episodes.csv")] for f in (output, run.parent / "again")]
    assert configurations[0] == configurations[1]


def test_without_a_memo_the_answer_is_the_same_and_the_table_is_measured_again(run: Path, search: Command) -> None:
    assert search(run, "--budget", 0.08, "--output", run.parent / "a") == 0
    assert search(run, "--budget", 0.08, "--output", run.parent / "b", "--cache", "none") == 0
    assert re.search(r"0 of 12 configurations were known; evaluated 12, and \d+ partly quantized ones", search.out)
    a, b = (SearchResult.load(run.parent / name / "result.json") for name in "ab")
    assert a.bits == b.bits
    assert b.evaluations > a.evaluations > 0


def test_a_table_of_gradients_is_made_again(tmp_path: Path, search: Command) -> None:
    options = ADRLOptions(**TINY, episodes=4, k=3, profile_images=20, output=tmp_path / "old")
    search_with("adrl", options)
    assert search(tmp_path / "old", "--budget", 0.08, "--output", tmp_path / "new", "--episodes", 3) == 0
    assert "partly" not in search.out, "no configuration is measured for it"
    assert SearchResult.load(tmp_path / "new" / "result.json").size_ratio <= 0.08


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("sb3", SB3Options(**TINY, episodes=4, algo="dqn")),
        ("adrl", ADRLOptions(**TINY, episodes=2, indicator="distance")),
        ("search", SearchOptions(**TINY, episodes=4, method="random")),
    ],
)
def test_any_run_will_do_and_none_measures_a_table_for_it(
    tmp_path: Path, search: Command, script: str, options: Options
) -> None:
    old = search_with(script, dataclasses.replace(options, keep=("fc2=8",), output=tmp_path / "old"))
    assert search(tmp_path / "old", "--budget", 0.15, "--output", tmp_path / "new", "--episodes", 6) == 0
    new = SearchResult.load(tmp_path / "new" / "result.json")
    assert "partly" not in search.out
    assert new.size_ratio <= 0.15
    assert new.bits["fc2"] == 8
    assert new.search_agreement >= old.search_agreement, "the old bits fit as they are"
    assert new.agent == f"from-{old.agent}"


def test_an_answer_is_a_run_like_others(run: Path, search: Command) -> None:
    assert search(run, "--budget", 0.08, "--output", run.parent / "new") == 0
    assert search(run.parent / "new", "--budget", 0.07, "--output", run.parent / "third", "--episodes", 4) == 0
    assert "partly" not in search.out, "the one-layer table is still known"
    third = SearchResult.load(run.parent / "third" / "result.json")
    assert (third.agent, third.options["from"]) == ("from-adrl", str(run.parent / "new"))
    assert load_run(RunOptions(run=run.parent / "third")).bits == third.config


@pytest.mark.parametrize("name", ["dqn", "haq", "adrl"])
def test_the_trained_agent_decides_as_in_its_own_environment(tmp_path: Path, name: Any) -> None:
    kind: dict[str, Any] = {"dqn": {"algo": "dqn"}, "adrl": {"k": 2, "context": "prefix"}}
    options = {"dqn": SB3Options, "adrl": ADRLOptions}.get(name, Options)(
        **TINY, **kind.get(name, {}), episodes=22, output=tmp_path / "run"
    )
    search_with({"dqn": "sb3"}.get(name, name), options)
    here, _ = make_env(options)
    own, _ = make_env(options, "discrete" if name == "dqn" else "continuous")
    agent = load_trained(tmp_path / "run" / "agent.zip", name, here)
    assert agent is not None
    before = here.unwrapped.problem.memo_misses  # type: ignore[attr-defined]
    observation, info = own.reset()
    while "bits" not in info:
        observation, _, _, _, info = own.step(agent.predict(observation, deterministic=True)[0])
    assert decide(agent, here) == info["chosen_bits"]
    assert name == "adrl" or here.unwrapped.problem.memo_misses == before  # type: ignore[attr-defined]


def test_the_agent_has_its_say_where_there_is_one(run: Path, search: Command) -> None:
    env, _ = make_env(dataclasses.replace(Options(**TINY), budget=0.2))
    values = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**values, "agent": "sac"}))
    agent = make_sb3_agent("sac", env, 0)
    bits = env.unwrapped.problem.project(decide(agent, env))  # type: ignore[attr-defined]
    agent.save(run / "agent.zip")
    tried = {}
    for output in ("with", "without"):
        assert search(run, "--budget", 0.2, "--output", run.parent / output, "--episodes", 4) == 0
        tried[output] = [e.bits for e in load_history(run.parent / output / "episodes.csv")]
        (run / "agent.zip").unlink(missing_ok=True)
    assert " ".join(map(str, bits)) in tried["with"]
    assert " ".join(map(str, bits)) not in tried["without"]


def test_an_answer_can_be_resumed(run: Path, search: Command) -> None:
    new = ("--budget", 0.08, "--output", run.parent / "new")
    assert search(run, *new, "--episodes", 3) == 0
    assert search(run, *new, "--episodes", 9) == 2
    assert re.fullmatch(r"error: .*holds a run of these options .*go on with --resume, .*\n", search.err)
    assert search(run, *new, "--episodes", 9, "--resume") == 0
    assert search(run, "--budget", 0.08, "--output", run.parent / "whole", "--episodes", 9) == 0
    parts, whole = ([e.bits for e in load_history(run.parent / n / "episodes.csv")] for n in ("new", "whole"))
    assert parts == whole
    assert len(whole) == 9


def change(**values: object) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        result = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps({**result, **values}))

    return damage


def rewrite(name: str, pattern: str, by: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / name).read_bytes().decode("latin-1")
        (run / name).write_bytes(re.sub(pattern, by, text).encode("latin-1"))

    return damage


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (
            lambda run: shutil.rmtree(run),
            ["--budget", 0.08],
            "cannot read the search result .*adrl/result.json: .*No such",
        ),
        (None, ["--budget", 0.001], "the smallest possible is 0.03125"),
        (None, ["--budget", "nan"], r"budget must be in \(0, 1\], got nan"),
        (None, ["--budget", 2], r"budget must be in \(0, 1\], got 2"),
        (None, ["--budget", 0.08, "--episodes", 0], "episodes must be at least 1, got 0"),
        (None, ["--budget", 0.08, "--device", "abacus"], "device abacus cannot be used here"),
        (
            None,
            ["--budget", 0.08, "--method", "ip", "--keep=fc2=8", "--profile_images", 3],
            r"--method, --keep, --profile-images: this is as in the run; leave it out, or search anew",
        ),
        (
            change(checkpoint="0" * 64),
            ["--budget", 0.08],
            r"searched with other weights .*hash 000000000000.*--weights",
        ),
        (
            change(size_ratio=0.01),
            ["--budget", 0.08],
            "cannot read the search result .*: the bits make a size_ratio of",
        ),
        (
            rewrite("result.json", "fc2", "fc9"),
            ["--budget", 0.08],
            "says nothing of layer fc2; is it of another network",
        ),
        (rewrite("result.json", '"budget": 0.1', '"budget": 0.04'), ["--budget", 0.08], "break its own budget"),
        (
            rewrite("episodes.csv", r",\d \d \d \d,", ",1 1 1,"),
            ["--budget", 0.08],
            "episode 1: 3 bit-widths for a network",
        ),
        (
            rewrite("episodes.csv", r",\d \d \d \d,", ",1 1 1 x,"),
            ["--budget", 0.08],
            "cannot read the history .*episode 1",
        ),
        (rewrite("agent.zip", "^PK", "no"), ["--budget", 0.08], "cannot load the agent .*agent.zip .*: remove it"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    run: Path, search: Command, damage: Callable[[Path], None] | None, arguments: list[object], message: str
) -> None:
    if damage is not None:
        damage(run)
    there = {path.name for path in run.parent.iterdir()} | {"cache.sqlite-shm", "cache.sqlite-wal"}
    assert search(run, *arguments) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", search.err)
    assert {path.name for path in run.parent.iterdir()} <= there


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_the_run_itself_is_never_overwritten(run: Path, search: Command, resume: list[str]) -> None:
    before = content(run)
    assert search(run, "--budget", 0.08, "--output", run, *resume) == 2
    assert re.fullmatch(r"error: .*belongs to another run, with agent adrl \(here from-adrl\).*--output\n", search.err)
    assert content(run) == before


def test_a_damaged_cache_is_set_aside_and_a_foreign_file_refused(run: Path, search: Command) -> None:
    cache = run.parent / "cache.sqlite"
    content = cache.read_bytes()[:100] + b"damaged"
    cache.write_bytes(content)
    for suffix in ("-wal", "-shm"):
        cache.with_name(cache.name + suffix).unlink(missing_ok=True)
    with pytest.warns(UserWarning, match=r"cache.sqlite is damaged .*renamed"):
        assert search(run, "--budget", 0.08, "--episodes", 3) == 0
    assert "0 of 3 configurations were known" in search.out
    assert [path.read_bytes() for path in run.parent.glob("cache.sqlite.aside-*")] == [content]
    (run.parent / "notes.txt").write_text("mine")
    assert search(run, "--budget", 0.07, "--cache", run.parent / "notes.txt") == 2
    assert re.fullmatch(r"error: .*notes.txt is not an evaluation cache .*name another file \(--cache\)\n", search.err)
    assert (run.parent / "notes.txt").read_text() == "mine"


def test_a_budget_is_asked_for(run: Path, search: Command) -> None:
    with pytest.raises(SystemExit) as ended:
        search(run)
    assert ended.value.code == 2
    assert "--budget" in search.err
