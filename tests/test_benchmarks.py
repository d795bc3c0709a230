"""The benchmarks: which searches there are, what is gathered of them, and the figures."""

import csv
import importlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from adrl_agents.history import Episode, history_csv
from adrl_gym.budget import average_bits, project, size_ratio
from adrl_gym.result import SearchResult

ROOT = Path(__file__).parents[1]
SHAPES = {f"layer{i}": [16, 16, 3, 3] for i in range(20)}
PARAMETERS = [16 * 16 * 9] * 20
FLOAT = 91.0


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the scripts importable."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())


def script(name: str) -> Any:
    return importlib.import_module(name)


def finish(run: Any, folder: Path, episodes: int, start: float = 0.0, end: float = 88.0, speed: float = 0.05) -> None:
    """Leave a finished run: accuracy rises from 60 % to ``end`` %, the first evaluations went into a table."""
    generator = np.random.default_rng(zlib.crc32(run.name.encode()))
    bits = list(project(generator.integers(1, 8, 20).tolist(), PARAMETERS, run.budget, 1))
    history, best = [], 0.0
    for count in range(1, episodes + 1):
        accuracy = end - (end - 60) * math.exp(-speed * count) - generator.exponential(8 * math.exp(-speed * count))
        best = round(max(best, accuracy), 2)
        spent = start + count
        reward = round(0.1 * (accuracy - FLOAT), 6)
        history.append(Episode(count, reward, accuracy, best, spent, 1.2 * spent, best, 0.1, 2.0, "1 2", spent))
    result = SearchResult(
        env_id="adrl_gym/ResNet20-Cifar10-v0",
        agent=run.agent,
        seed=run.seed,
        options={},
        status="finished",
        bits=dict(zip(SHAPES, bits, strict=True)),
        shapes=SHAPES,
        size_ratio=size_ratio(bits, PARAMETERS),
        average_bits=average_bits(bits, PARAMETERS),
        float_search_accuracy=FLOAT,
        search_accuracy=best,
        search_agreement=best,
        search_kl=0.1,
        data="cifar10",
        data_source="made up",
        episodes=episodes,
        evaluations=start + episodes,
        memo_hits=0,
        memo_misses=episodes,
        preparation_seconds=1.0,
        seconds=1.2 * (start + episodes),
        cpu_seconds=start + episodes,
        checkpoint="0" * 64,
        versions={"torch": "0"},
        float_test_accuracy=FLOAT,
        test_accuracy=best - 0.5,
    )
    (folder / run.name).mkdir(parents=True)
    result.save(folder / run.name / "result.json")
    (folder / run.name / "episodes.csv").write_text(history_csv(history))


def finish_setting(
    folder: Path, quantizer: str = "linear", budget: float = 0.0625, without: tuple[str, ...] = ()
) -> None:
    """All runs of one setting of the suite ``paper`` on ResNet20, but those of some agents."""
    store = script("store").Store("paper", folder, folder / "none")
    suite = [run for run in store.suite if run.setting == ("resnet20", quantizer, budget, "")]
    suite = [run for run in suite if run.agent not in without]
    for run in suite:
        if run.agent == "adrl":
            finish(run, folder, 40, start=40, end=86 + 35 * budget, speed=0.8)
    for run in suite:
        chosen = store.sized(run)
        if run.agent in ("uniform", "greedy", "local") or run.agent.startswith("ip"):
            finish(chosen, folder, 1, start=40, end=84 + 35 * budget + len(run.agent) / 6, speed=9)
        elif run.agent != "adrl":
            episodes = 80 if run.protocol == "matched" else 600
            end = {"haq": 87.5, "d-adrl": 88.5, "tpe": 88.4, "random": 84}.get(
                run.agent, 83 + zlib.crc32(run.agent.encode()) % 5
            )
            finish(chosen, folder, episodes, end=end, speed=0.008)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_paper_suite_is_the_protocol() -> None:
    suites = script("suites")
    paper = suites.paper()
    assert len({(run.name, run.protocol) for run in paper}) == len(paper)
    long = Counter(
        (r.network, *r.setting[1:3], r.agent) for r in paper if r.protocol == "search" and not r.varied_options
    )
    b, c = ("resnet20", "linear", 0.0625), ("resnet20", "gptq", 0.05)
    first = [run for run in paper if run.setting == (*b, "") and (run.seed == 0 or run.agent == "adrl")]
    assert paper[: len(first)] == first
    assert [run.agent for run in first[:5]] == ["adrl"] * 5
    assert [long[(*b, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "sac", "ppo", "dqn", "random", "tpe")] == [
        *(5, 5, 3, 2, 2, 2, 2, 3, 3)
    ]
    assert [long[(*c, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "random")] == [5, 3, 1, 0, 1]
    assert long["cifarnet", "linear", 0.1, "haq"] == 3
    assert {r.budget for r in paper if r.quantizer == "gptq" and r.agent == "ip-kl"} == {0.04, 0.05, 0.0625, 0.08, 0.1}
    assert {r.varied_options for r in paper} == {"", "bias-correction=False"}
    in_b = {r.agent for r in paper if r.setting == (*b, "") and r.protocol == "matched"}
    assert in_b == set(suites.AGENTS) - {"adrl"}
    short, wide = ("linear", 0.1, "bias-correction=False"), ("kmeans", 0.1, "")
    for setting in (short, wide):
        seeds = Counter((r.agent, r.protocol) for r in paper if r.setting == ("resnet20", *setting))
        assert seeds == {("adrl", "search"): 5, ("haq", "search"): 1, ("haq", "matched"): 1}


@pytest.mark.parametrize("name", ["comparison", "choices", "paper", "ablations", "quick"])
def test_every_command_line_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tyro, options = importlib.import_module("tyro"), importlib.import_module("adrl_agents.options")
    kinds = {
        "train_adrl": options.ADRLOptions,
        "train_haq": options.Options,
        "train_sb3": options.SB3Options,
        "search": options.SearchOptions,
    }
    suites = script("suites")
    for run in suites.SUITES[name]():
        path, *arguments = run.command(Path("D"), Path("O"))
        parsed = tyro.cli(kinds[Path(path).stem], args=arguments)
        parsed.check()
        assert (parsed.quantizer, parsed.budget, parsed.seed) == (run.quantizer, run.budget, run.seed)
        assert Path(path).exists()


def test_matched_runs_take_as_many_evaluations_as_adrl_at_most(tmp_path: Path) -> None:
    store = script("store").Store("paper", tmp_path, tmp_path / "results")
    suite = [run for run in store.suite if run.setting == ("resnet20", "gptq", 0.05, "")]
    (greedy,) = (run for run in suite if run.agent == "greedy")
    for run in suite:
        if run.agent == "adrl":
            assert store.sized(greedy) is None
            finish(run, tmp_path, 40, start=40.25 + run.seed)
    assert store.sized(greedy).varied["evaluations"] == 85  # 44.25 + 40, rounded up
    gather(tmp_path, tmp_path / "results")
    from_rows = script("store").Store("paper", tmp_path / "gone", tmp_path / "results")
    assert from_rows.sized(greedy) == store.sized(greedy)


def gather(runs: Path, results: Path, suite: str = "paper") -> None:
    script("gather").gather(script("store").Store(suite, runs, results))


def test_rows_outlive_their_folders(tmp_path: Path) -> None:
    """As in another session, on another machine: what is known are the CSV files alone."""
    results, names = tmp_path / "results", ("runs", "learning", "variance", "curves")
    finish_setting(tmp_path / "runs")
    gather(tmp_path / "runs", results)
    before = {name: (results / f"{name}.csv").read_text() for name in names}
    gather(tmp_path / "other", results)
    assert {name: (results / f"{name}.csv").read_text() for name in names} == before

    store = script("store").Store("paper", tmp_path / "other", results)
    here = ("resnet20", "linear", 0.0625, "")
    assert {run.setting for run in store.suite if store.is_done(run)} == {here}
    assert all(store.is_done(run) for run in store.suite if run.setting == here)

    (haq,) = (r for r in store.suite if r.setting == here and (r.agent, r.seed, r.protocol) == ("haq", 1, "search"))
    finish(haq, tmp_path / "other", 600, end=89.0, speed=0.02)
    gather(tmp_path / "other", results)
    after, was = rows(results / "runs.csv"), before["runs"].splitlines()
    assert len(after) + 1 == len(was)
    assert len(set((results / "runs.csv").read_text().splitlines()) - set(was)) == 1
    seeds = [float(r["search_accuracy"]) for r in after if r["agent"] == "haq" and r["protocol"] == "search"]
    assert {float(r["target_accuracy"]) for r in rows(results / "learning.csv")} == {sorted(seeds)[2]}


def test_a_shorter_run_than_asked_for_is_not_done(tmp_path: Path) -> None:
    suites, store = script("suites"), script("store")
    short, long = (suites.Run("cifarnet", "gptq", 0.05, "haq", 0, {"episodes": count}) for count in (60, 600))
    finish(short, tmp_path / "runs", 60)
    done = script("gather").Done(short, store.Store("paper", tmp_path / "runs", tmp_path).result(short), [])
    store.write([script("gather").run_row(done)], tmp_path / "results" / "runs.csv")
    opened = store.Store("paper", tmp_path / "other", tmp_path / "results")
    assert (opened.is_done(short), opened.is_done(long)) == (True, False)


def test_histories_without_processor_time_are_gathered(tmp_path: Path) -> None:
    """Those of version 0.1 have none."""
    suites = script("suites")
    runs = [run for run in suites.paper() if run.setting == ("resnet20", "linear", 0.1, "") and run.agent == "adrl"]
    for run in runs:
        finish(run, tmp_path / "runs", 40)
    history = tmp_path / "runs" / runs[0].name / "episodes.csv"
    lines = [line.rpartition(",") for line in history.read_text().splitlines()]
    assert lines[0][2] == "cpu_seconds"
    history.write_text("".join(f"{line[0]}\n" for line in lines))
    gather(tmp_path / "runs", tmp_path / "results")
    by_seed = {row["seed"]: row["cpu_seconds"] for row in rows(tmp_path / "results" / "curves.csv")}
    assert by_seed["0"] == ""
    assert float(by_seed["1"]) > 0


def test_one_that_gathers_waits_for_another(tmp_path: Path) -> None:
    """While one adds a row to what it has read, a second one adds none, which would be lost."""
    store = script("store")
    opened = store.Store("paper", tmp_path / "runs", tmp_path / "results")
    first, second = (run for run in opened.suite[:2])
    for run in (first, second):
        finish(run, tmp_path / "runs", 3)
    other = threading.Thread(target=gather, args=(tmp_path / "runs", tmp_path / "results"))
    with store.locked(tmp_path / "results"):
        other.start()
        other.join(1.0)
        assert other.is_alive()
        store.write([{**store.key_columns(first), "seed": "7"}], tmp_path / "results" / "runs.csv")
    other.join(60)
    assert {row["seed"] for row in rows(tmp_path / "results" / "runs.csv")} == {"0", "1", "7"}


def test_what_is_gathered_is_what_the_histories_say(tmp_path: Path) -> None:
    finish_setting(tmp_path / "runs")
    gather(tmp_path / "runs", tmp_path / "results")
    runs = rows(tmp_path / "results" / "runs.csv")
    wanted = "network, agent, quantizer, budget, seed, protocol, episodes, evaluations, seconds, search_accuracy"
    wanted += ", test_accuracy, float_test_accuracy, average_bits, size_ratio, commit"
    assert set(wanted.split(", ")) <= set(runs[0])
    assert Counter(row["protocol"] for row in runs) == {
        "search": 5 + 3 + 5 + 3 + 4 * 2 + 3 + 3,
        "matched": 5 + 3 + 3 + 4 * 2 + 8 * 3,
    }

    learning = rows(tmp_path / "results" / "learning.csv")
    haq = [float(r["search_accuracy"]) for r in runs if r["agent"] == "haq" and r["protocol"] == "search"]
    for row in learning:
        assert float(row["target_accuracy"]) == sorted(haq)[2]
    reached = {row["agent"] for row in learning if row["episodes"]}
    assert {"adrl", "haq", "d-adrl"} <= reached
    assert "random" not in reached
    (first,) = (row for row in learning if row["agent"] == "adrl" and row["seed"] == "0")
    history = rows(tmp_path / "runs" / "resnet20-linear-0.0625-adrl-s0" / "episodes.csv")
    there = next(row for row in history if float(row["best_accuracy"]) >= float(first["target_accuracy"]))
    assert [float(first[k]) for k in ("episodes", "evaluations", "seconds")] == [
        float(there[k]) for k in ("episode", "evaluations", "seconds")
    ]

    variance = rows(tmp_path / "results" / "variance.csv")
    (first,) = (row for row in variance if row["agent"] == "adrl" and row["seed"] == "0")
    rewards = np.array([float(row["reward"]) for row in history[:20]])
    assert float(first["reward_mean"]) == pytest.approx(rewards.mean(), abs=1e-6)
    assert float(first["reward_std"]) == pytest.approx(rewards.std(ddof=1), abs=1e-6)
    assert not {row["agent"] for row in variance} & {"uniform", "ip-kl"}


def test_figures_show_every_setting_and_are_the_same_every_time(tmp_path: Path) -> None:
    finish_setting(tmp_path / "runs")
    for budget in (0.04, 0.1):  # points of the Pareto curve; figures of a setting need HAQ
        finish_setting(tmp_path / "runs", "gptq", budget, without=("haq",))
    gather(tmp_path / "runs", tmp_path / "results")
    figures = script("figures")
    for name in ("figures", "again"):
        figures.main(figures.Options(results=tmp_path / "results", output=tmp_path / name))
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {
        f"{kind}-resnet20-linear-0.0625.{form}" for kind in ("curves", "learning", "bits") for form in ("png", "svg")
    } <= drawn
    assert {"pareto-resnet20.png", "pareto-resnet20.svg"} <= drawn
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    svg = (tmp_path / "figures" / "curves-resnet20-linear-0.0625.svg").read_text()
    for words in ("P-ADRL", "HAQ", "float network", "search accuracy of the best so far (%)", "episodes"):
        assert words in svg
    with Image.open(tmp_path / "figures" / "pareto-resnet20.png") as picture:
        assert picture.width >= 900


def test_without_results_there_are_no_figures(tmp_path: Path) -> None:
    assert script("figures").figures(tmp_path) == {}


def with_scripts() -> dict[str, str]:
    """The environment of a process that can import the scripts."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of three runs whose agent is a script that notes when it begins and when it is interrupted."""
    path = tmp_path / "agent.py"
    path.write_text(
        "import sys, time\n"
        "log = open(sys.argv[0] + '.log', 'a', buffering=1)\n"
        "print('begin', file=log)\n"
        "try:\n    time.sleep(100)\n"
        "except KeyboardInterrupt:\n    print('interrupted', file=log); sys.exit(130)\n"
    )
    (tmp_path / "start.py").write_text(
        "import runpy, sys\nimport suites\n"
        f"suites.Run.command = lambda self, data, output: [{str(path)!r}]\n"
        "sys.argv[0] = 'run.py'\n"
        f"runpy.run_path({str(ROOT / 'benchmarks' / 'run.py')!r}, run_name='__main__')\n"
    )
    return path


@pytest.fixture
def instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``run.py --suite paper`` whose searches only leave a finished folder and a line in a log."""
    suites, run = script("suites"), script("run")
    (tmp_path / "agent.py").write_text(
        "import shutil, sys\n"
        "with open(sys.argv[1], 'a') as log:\n    print(sys.argv[2], file=log)\n"
        "shutil.copytree(sys.argv[3], sys.argv[4])\n"
    )

    def command(self: Any, data: Path, output: Path) -> list[str]:
        if not (tmp_path / "made" / self.name).exists():
            finish(self, tmp_path / "made", 30, start=30 if self.agent == "adrl" else 0)
        made = [str(tmp_path / "made" / self.name), str(output)]
        return [str(tmp_path / "agent.py"), str(tmp_path / "log"), f"{self.protocol} {self.agent} {self.seed}", *made]

    monkeypatch.setattr(suites.Run, "command", command)
    before = signal.getsignal(signal.SIGTERM)

    def start(*only: str, again: tuple[str, ...] = (), runs: str = "runs") -> list[str]:
        (tmp_path / "log").unlink(missing_ok=True)
        folders = {"runs": tmp_path / runs, "results": tmp_path / "results"}
        status = run.main(run.Options("paper", tmp_path, 1, **folders, only=only, again=again))
        done = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
        return [*done, *(["waiting"] if status else [])]

    yield start
    signal.signal(signal.SIGTERM, before)


def test_a_suite_does_what_is_missing_and_makes_anew_what_is_asked(tmp_path: Path, instant: Any) -> None:
    there = "resnet20-gptq-0.1-"
    assert instant("matched-" + there) == ["waiting"]
    long = ["search adrl 0", "matched haq 0", "matched ip-kl 0", "matched uniform 0"]
    assert instant(there + "adrl", "matched-" + there) == long
    assert instant(there + "adrl", "matched-" + there) == []
    assert instant(there + "adrl", "matched-" + there, runs="of another machine") == []
    before = rows(tmp_path / "results" / "runs.csv")
    assert instant(there + "adrl", "matched-" + there, again=("ip-kl",)) == ["matched ip-kl 0"]
    assert rows(tmp_path / "results" / "runs.csv") == before
    assert len(list((tmp_path / "runs").glob("*ip-kl*.aside-*"))) == 1


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_suite_interrupts_its_searches(tmp_path: Path, stand_in: Path, stop: signal.Signals) -> None:
    command = [sys.executable, str(tmp_path / "start.py"), "--suite", "choices", "--data-root", str(tmp_path)]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    log = Path(f"{stand_in}.log")
    with subprocess.Popen(
        command,
        env=with_scripts(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            end = time.monotonic() + 100
            while not log.exists() or log.read_text().count("begin") < 2:
                assert time.monotonic() < end, "the searches do not begin"
                time.sleep(0.05)
            time.sleep(0.2)
            process.send_signal(stop)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "the same command goes on" in error
    assert Counter(log.read_text().split()) == {"begin": 2, "interrupted": 2}
