"""A sweep: one folder a search, one table, one picture; it goes on after any stop."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import Row, SearchResult, read_rows
from adrl_agents.search import run_search
from adrl_agents.sweep import SweepOptions, run_sweep, search_task
from adrl_agents.sweep.front import draw_front
from adrl_gym import AdrlGymError
from sweeps import without_times

pytestmark = pytest.mark.usefixtures("plain")
Swept = tuple[SweepOptions, list[Row]]


def test_every_search_has_a_folder_and_a_row(serial: Swept) -> None:
    options, rows = serial
    keys = [(row["budget"], row["agent"], row["seed"]) for row in rows]
    assert keys == [(budget, agent, "0") for budget in ("0.1", "0.15") for agent in ("adrl", "haq", "ip")]
    assert read_rows(options.folder / "sweep.csv") == rows
    names = {f"Tiny-{agent}-{budget}-s0" for budget, agent, _ in keys}
    assert {path.name for path in options.folder.iterdir()} == {*names, "sweep.csv", "pareto.png"}
    for row in rows:
        result = SearchResult.load(options.folder / row["run"] / "result.json")
        assert (result.status, result.size_ratio) == ("finished", float(row["size_ratio"]))
        assert float(row["size_ratio"]) <= float(row["budget"])


def test_a_finished_sweep_searches_nothing_again(serial: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_task, "run_search", never)
    assert run_sweep(serial[0]) == serial[1]


def test_the_order_of_searches_changes_no_row(serial: Swept, tmp_path: Path) -> None:
    options, rows = serial
    turned = dataclasses.replace(options, agents=("haq", "adrl"), budgets=(0.15,), output=tmp_path / "sweep")
    there = {row["run"]: row for row in without_times(rows)}
    assert without_times(run_sweep(turned)) == [there[task.name] for task in turned.tasks()]


@pytest.mark.parametrize("stop", [2, 6])  # within ADRL's search, and within HAQ's, which is resumed
def test_a_stopped_sweep_goes_on_and_gives_the_same_rows(
    stop: int, serial: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options, rows = serial
    budgets = dataclasses.replace(options, agents=("adrl", "haq"), budgets=(0.1,), output=tmp_path / "sweep")
    with monkeypatch.context() as patch:
        patch.setattr("adrl_agents.search.logger.RunLogger.add", stopping_at(stop))
        with pytest.raises(KeyboardInterrupt):
            run_sweep(budgets)
    assert "the same command goes on" in capsys.readouterr().err
    assert len(read_rows(budgets.folder / "sweep.csv")) == (stop - 1) // 3
    there = {row["run"]: row for row in without_times(rows)}
    assert without_times(run_sweep(budgets)) == [there[task.name] for task in budgets.tasks()]
    assert not (budgets.folder / "caches").exists()


def test_refitted_networks_have_columns(serial: Swept) -> None:
    options = dataclasses.replace(serial[0], agents=("ip",), budgets=(0.1,), refit=True)
    (row,) = run_sweep(options)  # only the refit is left to do
    assert 0 < float(row["refit_search_accuracy"]) <= 100
    assert (options.folder / "Tiny-ip-0.1-s0" / "refit.safetensors").exists()
    labels = [line.get_label() for line in draw_front([row], "sweep").axes[0].lines]
    assert labels == ["integer programming", "integer programming, refitted", "float network"]


def test_budgets_may_limit_bit_operations(serial: Swept, tmp_path: Path) -> None:
    options = dataclasses.replace(
        serial[0], agents=("ip",), budgets=(0.03, 0.02), budget_kind="bitops", activations=8, output=tmp_path / "sweep"
    )
    rows = run_sweep(options)
    assert [row["budget"] for row in rows] == ["bitops=0.03", "bitops=0.02"]
    for row, limit in zip(rows, (0.03, 0.02), strict=True):
        assert 0.8 * limit < float(row["cost_ratio"]) <= limit
        assert float(row["cost_ratio"]) != float(row["size_ratio"])
    figure = draw_front(rows, "sweep")
    shares = [100 * float(row["cost_ratio"]) for row in reversed(rows)]
    assert np.array_equal(figure.axes[0].lines[0].get_xdata(), shares)
    assert figure.axes[0].get_xlabel() == "share of the bit operations in 32 x 32 bits (%)"


def test_sweeps_of_other_costs_and_activations_have_folders_of_their_own() -> None:
    sweep = SweepOptions(env_id="adrl_gym/ResNet20-Cifar10-v0")
    assert sweep.folder == Path("runs/ResNet20-Cifar10-sweep")
    bitops = dataclasses.replace(sweep, activations=8, budget_kind="bitops")
    assert bitops.folder == Path("runs/ResNet20-Cifar10-sweep-a8-bitops")


def test_a_search_that_fails_stops_no_other(serial: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(serial[0], agents=("haq", "uniform"), budgets=(0.1,), output=tmp_path / "sweep")
    real = run_search

    def failing(agent: str, *arguments: Any) -> Any:
        if agent == "haq":
            raise AdrlGymError("the disk is full: free it")
        return real(agent, *arguments)

    monkeypatch.setattr(search_task, "run_search", failing)
    with pytest.raises(AdrlGymError, match=r"1 of 2 searches failed.*Tiny-haq-0.1-s0: the disk is full: free it"):
        run_sweep(options)
    assert [row["agent"] for row in read_rows(options.folder / "sweep.csv")] == ["uniform"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budgets", "0.1", "0.1"], "budgets holds 0.1 twice: give each value once (--budgets)"),
        (["--budgets", "16"], "budget must be in (0, 1], got 16"),
        (["--budgets", "0.001"], "budget"),
        (["--seeds", "-1"], "seed must be at least 0"),
        (["--threads", "0"], "threads must be at least 1, got 0"),
    ],
)
def test_bad_input_is_told_before_any_search(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--env-id", "tiny_env:Tiny-v0", "--images", "40", "--output", str(tmp_path / "sweep"), *arguments]
    assert run_command("sweep", given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_the_folder_of_another_sweep_is_refused(serial: Swept) -> None:
    other = dataclasses.replace(serial[0], images=30)
    with pytest.raises(AdrlGymError, match=r"belongs to another run, with --images 40 \(here 30\)"):
        run_sweep(other)


def never(*_: Any) -> None:
    raise AssertionError("nothing is left to search")


def stopping_at(count: int) -> Callable[..., Any]:
    from adrl_agents.search.logger import RunLogger

    add, calls = RunLogger.add, []

    def stopping(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == count:
            raise KeyboardInterrupt
        return add(*arguments)

    return stopping
