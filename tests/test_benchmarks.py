"""The benchmarks: which searches there are, what is gathered of them, and the figures."""

import csv
import importlib
import math
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from adrl_agents.history import Episode, history_csv
from adrl_gym import AdrlGymError
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
        history.append(Episode(count, reward, accuracy, best, spent, 1.2 * spent, best, 0.1, 2.0, "1 2"))
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
    suites = script("suites")
    suite = [run for run in suites.paper() if run.setting == ("resnet20", quantizer, budget, "")]
    suite = [run for run in suite if run.agent not in without]
    for run in suite:
        if run.agent == "adrl":
            finish(run, folder, 40, start=40, end=86 + 35 * budget, speed=0.8)
    for run in suite:
        chosen = suites.matched(run, suite, folder)
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
    assert [long[(*b, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "sac", "ppo", "dqn", "random", "tpe")] == [
        *(5, 5, 3, 2, 2, 2, 2, 3, 3)
    ]
    assert [long[(*c, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "random")] == [5, 3, 1, 0, 1]
    assert long["cifarnet", "linear", 0.1, "haq"] == 3
    assert {r.budget for r in paper if r.quantizer == "gptq" and r.agent == "ip-kl"} == {0.04, 0.05, 0.0625, 0.08, 0.1}
    assert {r.varied_options for r in paper} == {"", "bias-correction=False"}
    in_b = {r.agent for r in paper if r.setting == (*b, "") and r.protocol == "matched"}
    assert in_b == set(suites.AGENTS) - {"adrl"}


@pytest.mark.parametrize("name", ["comparison", "choices", "paper", "quick"])
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
    suites = script("suites")
    suite = [run for run in suites.paper() if run.setting == ("resnet20", "gptq", 0.05, "")]
    (greedy,) = (run for run in suite if run.agent == "greedy")
    for run in suite:
        if run.agent == "adrl":
            assert suites.matched(greedy, suite, tmp_path) is None
            finish(run, tmp_path, 40, start=40.25 + run.seed)
    chosen = suites.matched(greedy, suite, tmp_path)
    assert chosen.varied["evaluations"] == 85  # 44.25 + 40, rounded up


def test_what_is_gathered_is_what_the_histories_say(tmp_path: Path) -> None:
    finish_setting(tmp_path / "runs")
    script("gather").gather("paper", tmp_path / "runs", tmp_path / "results")
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
    script("gather").gather("paper", tmp_path / "runs", tmp_path / "results")
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


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_suite_interrupts_its_searches(tmp_path: Path, stand_in: Path, stop: signal.Signals) -> None:
    command = [sys.executable, str(tmp_path / "start.py"), "--suite", "choices", "--data-root", str(tmp_path)]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    log = Path(f"{stand_in}.log")
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
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


def test_refits_are_of_the_committed_searches_and_a_finished_table_is_left_alone(tmp_path: Path) -> None:
    refits = script("refits")
    rows = refits.searched(ROOT / "benchmarks" / "results")
    assert {("resnet20", "adrl", "0.0625"), ("resnet20", "uniform", "0.0625"), ("cifarnet", "adrl", "0.0625")} <= {
        (row["network"], row["agent"], row["budget"]) for row in rows
    }
    assert {(row["quantizer"], row["seed"], row["protocol"], row["varied"]) for row in rows} == {
        ("gptq", "0", "search", "")
    }
    with (tmp_path / "comparison.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerow(rows[0])
    with (tmp_path / "refit.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, refits.COLUMNS)
        writer.writeheader()
        known = {name: value for name, value in rows[0].items() if name in refits.COLUMNS}
        writer.writerows(
            {**known, "calibration": c, "draw": d} for c in refits.CALIBRATIONS for d in range(refits.DRAWS)
        )
    before = (tmp_path / "refit.csv").read_bytes()
    refits.main(refits.Options(data_root=tmp_path, results=tmp_path))
    assert (tmp_path / "refit.csv").read_bytes() == before

    (tmp_path / "refit.csv").unlink()
    (tmp_path / "comparison.csv").write_text(
        (tmp_path / "comparison.csv").read_text().replace(rows[0]["checkpoint"], "0")
    )
    with pytest.raises(AdrlGymError, match="was searched with the checkpoint 0: search anew"):
        refits.main(refits.Options(data_root=tmp_path, results=tmp_path))
    assert not (tmp_path / "refit.csv").exists()
