"""The store of finished runs: what is done stays known, also without its folder, and whoever else adds to it."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("benchmark_scripts")


def script(name: str) -> Any:
    return importlib.import_module(name)


def made() -> Any:
    """How runs are made up, and rows read."""
    return script("made_runs")


def test_matched_runs_take_as_many_evaluations_as_adrl_at_most(tmp_path: Path) -> None:
    store = script("benchmarks.harness.store").Store("paper", tmp_path, tmp_path / "results")
    suite = [run for run in store.suite if run.setting == ("resnet20", "gptq", 0.05, "")]
    (greedy,) = (run for run in suite if run.agent == "greedy")
    for run in suite:
        if run.agent == "adrl":
            assert store.sized(greedy) is None
            made().finish(run, tmp_path, 40, start=40.25 + run.seed)
    assert store.sized(greedy).varied["evaluations"] == 85  # 44.25 + 40, rounded up
    made().gather(tmp_path, tmp_path / "results")
    from_rows = script("benchmarks.harness.store").Store("paper", tmp_path / "gone", tmp_path / "results")
    assert from_rows.sized(greedy) == store.sized(greedy)


def test_rows_outlive_their_folders(tmp_path: Path) -> None:
    """As in another session, on another machine: what is known are the CSV files alone."""
    results, names = tmp_path / "results", ("runs", "learning", "variance", "curves")
    made().finish_setting(tmp_path / "runs")
    made().gather(tmp_path / "runs", results)
    before = {name: (results / f"{name}.csv").read_text() for name in names}
    made().gather(tmp_path / "other", results)
    assert {name: (results / f"{name}.csv").read_text() for name in names} == before

    store = script("benchmarks.harness.store").Store("paper", tmp_path / "other", results)
    here = ("resnet20", "linear", 0.0625, "")
    assert {run.setting for run in store.suite if store.is_done(run)} == {here}
    assert all(store.is_done(run) for run in store.suite if run.setting == here)

    (haq,) = (r for r in store.suite if r.setting == here and (r.agent, r.seed, r.protocol) == ("haq", 1, "search"))
    made().finish(haq, tmp_path / "other", 600, end=89.0, speed=0.02)
    made().gather(tmp_path / "other", results)
    after, was = made().rows(results / "runs.csv"), before["runs"].splitlines()
    assert len(after) + 1 == len(was)
    assert len(set((results / "runs.csv").read_text().splitlines()) - set(was)) == 1
    seeds = [float(r["search_accuracy"]) for r in after if r["agent"] == "haq" and r["protocol"] == "search"]
    assert {float(r["target_accuracy"]) for r in made().rows(results / "learning.csv")} == {sorted(seeds)[2]}


def test_a_shorter_run_than_asked_for_is_not_done(tmp_path: Path) -> None:
    suites, store = script("benchmarks.harness.suites"), script("benchmarks.harness.store")
    short, long = (suites.Run("cifarnet", "gptq", 0.05, "haq", 0, {"episodes": count}) for count in (60, 600))
    made().finish(short, tmp_path / "runs", 60)
    done = script("benchmarks.reporting.gather").Done(
        short, store.Store("paper", tmp_path / "runs", tmp_path).result(short), []
    )
    store.write([script("benchmarks.reporting.gather").run_row(done)], tmp_path / "results" / "runs.csv")
    opened = store.Store("paper", tmp_path / "other", tmp_path / "results")
    assert (opened.is_done(short), opened.is_done(long)) == (True, False)


def test_histories_without_processor_time_are_gathered(tmp_path: Path) -> None:
    """Those of version 0.1 have none."""
    suites = script("benchmarks.harness.suites")
    runs = [run for run in suites.paper() if run.setting == ("resnet20", "linear", 0.1, "") and run.agent == "adrl"]
    for run in runs:
        made().finish(run, tmp_path / "runs", 40)
    history = tmp_path / "runs" / runs[0].name / "episodes.csv"
    lines = [line.rsplit(",", 2) for line in history.read_text().splitlines()]
    assert lines[0][1:] == ["cpu_seconds", "cost_ratios"]
    history.write_text("".join(f"{line[0]}\n" for line in lines))
    made().gather(tmp_path / "runs", tmp_path / "results")
    by_seed = {row["seed"]: row["cpu_seconds"] for row in made().rows(tmp_path / "results" / "curves.csv")}
    assert by_seed["0"] == ""
    assert float(by_seed["1"]) > 0


def test_one_that_gathers_waits_for_another(tmp_path: Path) -> None:
    """While one adds a row to what it has read, a second one adds none, which would be lost."""
    store = script("benchmarks.harness.store")
    opened = store.Store("paper", tmp_path / "runs", tmp_path / "results")
    first, second = (run for run in opened.suite[:2])
    for run in (first, second):
        made().finish(run, tmp_path / "runs", 3)
    other = threading.Thread(target=made().gather, args=(tmp_path / "runs", tmp_path / "results"))
    with store.locked(tmp_path / "results"):
        other.start()
        other.join(1.0)
        assert other.is_alive()
        store.write([{**store.key_columns(first), "seed": "7"}], tmp_path / "results" / "runs.csv")
    other.join(60)
    assert {row["seed"] for row in made().rows(tmp_path / "results" / "runs.csv")} == {"0", "1", "7"}


def with_scripts() -> dict[str, str]:
    """The environment of a process that can import the scripts."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


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
        "import runpy\nfrom benchmarks.harness import suites\n"
        f"suites.Run.command = lambda self, data, output: [{str(path)!r}]\n"
        "runpy.run_module('benchmarks.run', run_name='__main__')\n"
    )
    return path


@pytest.fixture
def instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``run.py --suite paper`` whose searches only leave a finished folder and a line in a log."""
    suites, run = script("benchmarks.harness.suites"), script("benchmarks.run")
    (tmp_path / "agent.py").write_text(
        "import shutil, sys\n"
        "with open(sys.argv[1], 'a') as log:\n    print(sys.argv[2], file=log)\n"
        "shutil.copytree(sys.argv[3], sys.argv[4])\n"
    )

    def command(self: Any, data: Path, output: Path) -> list[str]:
        if not (tmp_path / "made" / self.name).exists():
            made().finish(self, tmp_path / "made", 30, start=30 if self.agent == "adrl" else 0)
        copied = [str(tmp_path / "made" / self.name), str(output)]
        return [str(tmp_path / "agent.py"), str(tmp_path / "log"), f"{self.protocol} {self.agent} {self.seed}", *copied]

    monkeypatch.setattr(suites.Run, "command", command)

    def start(*only: str, again: tuple[str, ...] = (), runs: str = "runs") -> list[str]:
        (tmp_path / "log").unlink(missing_ok=True)
        folders = {"runs": tmp_path / runs, "results": tmp_path / "results"}
        status = run.main(run.Options("paper", tmp_path, 1, **folders, only=only, again=again))
        done = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
        return [*done, *(["waiting"] if status else [])]

    return start


def test_a_suite_does_what_is_missing_and_makes_anew_what_is_asked(tmp_path: Path, instant: Any) -> None:
    there = "resnet20-gptq-0.1-"
    assert instant("matched-" + there) == ["waiting"]
    long = ["search adrl 0", "matched haq 0", "matched ip-kl 0", "matched uniform 0"]
    assert instant(there + "adrl", "matched-" + there) == long
    assert instant(there + "adrl", "matched-" + there) == []
    assert instant(there + "adrl", "matched-" + there, runs="of another machine") == []
    before = made().rows(tmp_path / "results" / "runs.csv")
    assert instant(there + "adrl", "matched-" + there, again=("ip-kl",)) == ["matched ip-kl 0"]
    assert made().rows(tmp_path / "results" / "runs.csv") == before
    assert len(list((tmp_path / "runs").glob("*ip-kl*.aside-*"))) == 1


def test_matched_searches_are_tracked_in_a_group_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suites, run = script("benchmarks.harness.suites"), script("benchmarks.run")
    agent, log = tmp_path / "agent.py", tmp_path / "log"
    agent.write_text(f"import sys\nprint(*sys.argv[1:], file=open({str(log)!r}, 'a'))\n")
    monkeypatch.setattr(suites.Run, "command", lambda *_: [str(agent)])
    pool = run.Pool(run.Options("paper", tmp_path, 1, track=True))
    for protocol in ("search", "matched"):
        pool.start(suites.Run("resnet20", "gptq", 0.1, "haq", 0, protocol=protocol))
        assert [error for _, error in pool.finished()] == [None]
    groups = [line.rpartition(" ")[2] for line in log.read_text().splitlines()]
    assert groups == ["paper-search", "paper-matched"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_suite_interrupts_its_searches(tmp_path: Path, stand_in: Path, stop: signal.Signals) -> None:
    command = [sys.executable, str(tmp_path / "start.py"), "--suite", "ablations", "--data-root", str(tmp_path)]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    log = Path(f"{stand_in}.log")
    with subprocess.Popen(
        command,
        env=with_scripts(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as in the background of a script
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
