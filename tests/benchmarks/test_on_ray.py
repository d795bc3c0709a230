"""A suite on Ray: which searches are asked for, in which order, and what becomes of their answers."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("benchmark_scripts")


def test_a_suite_on_ray_begins_with_adrl_and_gathers_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_ray, run, made = (
        importlib.import_module(name) for name in ("benchmarks.harness.on_ray", "benchmarks.run", "made_runs")
    )
    store = importlib.import_module("benchmarks.harness.store")
    asked: list[list[tuple[str, str, Any]]] = []

    def answered(jobs: Sequence[Any], folder: Path, address: str) -> Iterator[tuple[str, str | None]]:
        asked.append([(task.name, task.agent, task.options) for task, _ in jobs])
        assert address == "auto"
        suite = {
            (r.network, r.quantizer, r.budget, r.agent, r.seed): r for r in store.Store("paper", folder, folder).suite
        }
        for task, driver in jobs:
            assert driver == "facts"
            if task.agent == "uniform":
                yield task.name, "the disk is full (on worker 10.0.0.3)"
                continue
            key = ("resnet20", task.options.quantizer, task.options.budget, task.agent, task.options.seed)
            planned = suite[key]
            varied = {"evaluations": task.options.evaluations} if planned.protocol == "matched" else planned.varied
            made.finish(importlib.import_module("dataclasses").replace(planned, varied=varied), folder, 40)
            yield task.name, None

    monkeypatch.setattr(on_ray, "perform_on_ray", answered)
    monkeypatch.setattr(on_ray, "_driver", lambda *_: "facts")
    only = ("resnet20-gptq-0.1-adrl", "matched-resnet20-gptq-0.1-uniform")
    folders = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    status = run.main(run.Options("paper", tmp_path, **folders, only=only, ray="auto"))
    assert [[agent for _, agent, _ in wave] for wave in asked] == [["adrl"], ["uniform"]]
    assert asked[1][0][2].evaluations == 40  # as many as ADRL took
    assert asked[0][0][2].data_root == tmp_path
    rows = made.rows(tmp_path / "results" / "runs.csv")
    assert [row["agent"] for row in rows] == ["adrl"]
    assert status == 1
    assert "uniform-episodes=600-s0: the disk is full (on worker 10.0.0.3)" in capsys.readouterr().err
