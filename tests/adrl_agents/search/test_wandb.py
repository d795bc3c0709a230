"""Weights & Biases: runs in offline mode, read back from disk."""

import csv
import dataclasses
import importlib
import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adrl_agents.options import DEFAULT_ID, ADRLOptions, Options, SearchOptions
from adrl_agents.runs.history import load_history
from adrl_gym import AdrlGymError
from adrl_gym.datasets.distillation import Distillation, distill
from adrl_gym.models.named import load_network
from commands import OWN, search_with

pytestmark = pytest.mark.usefixtures("scripts")

BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a log in LevelDB's format behind a header of 7 bytes."""
    parse = importlib.import_module("wandb.proto.wandb_internal_pb2").Record.FromString
    content, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = BLOCK - at % BLOCK
        if left < 7:  # the rest of a block is too small for a chunk's header
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parse(record)
            record = b""


def read_back(path: Path) -> list[Any]:
    """All records, once the last one is there: W&B writes them in a process of its own, after finish() has returned."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = list(records(path))
        if any(record.HasField("exit") for record in found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} never got its last record")


def items(pairs: Any) -> dict[str, Any]:
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in pairs}


def test_a_tracked_run_can_be_read_back(options: Options, capfd: pytest.CaptureFixture[str]) -> None:
    result = search_with("haq", options)
    assert options.output is not None
    (path,) = options.output.glob("wandb/offline-run-*/*.wandb")
    found = read_back(path)

    run = next(record.run for record in found if record.HasField("run"))
    assert (run.project, run.run_group, run.display_name) == ("adrl-gym", "Tiny-haq-0.1", "Tiny-haq-0.1-s3")
    assert run.run_id == result.wandb_run
    assert {"haq", "gptq", "own"} <= set(run.tags)
    config = items(run.config.update)
    assert {name: config[name] for name in result.options} == result.options
    assert config["layers"] == list(result.bits)

    history = [items(record.history.item) for record in found if record.HasField("history")]
    episodes = load_history(options.output / "episodes.csv")
    assert [row["search/accuracy"] for row in history[:4]] == [episode.accuracy for episode in episodes]
    assert [row["cost/best_accuracy"] for row in history[:4]] == [episode.best_accuracy for episode in episodes]
    assert [row["evaluations"] for row in history[:4]] == [episode.evaluations for episode in episodes]
    assert {"bits", "curve"} <= set(history[4])

    metrics = [record.metric for record in found if record.HasField("metric")]
    assert {(metric.glob_name, metric.step_metric) for metric in metrics if metric.glob_name} == {
        ("search/*", "episode"),
        ("cost/*", "evaluations"),
    }
    summary = {k: v for record in found if record.HasField("summary") for k, v in items(record.summary.update).items()}
    assert summary["search_accuracy"] == result.search_accuracy
    artifacts = [r.request.log_artifact.artifact for r in found if r.request.HasField("log_artifact")]
    artifacts += [record.artifact for record in found if record.HasField("artifact")]
    names = {entry.path for artifact in artifacts if artifact.type == "result" for entry in artifact.manifest.contents}
    assert names == {"result.json", "episodes.csv"}
    assert len(list(options.output.glob("wandb/offline-run-*/files/media/images/*.png"))) == 2

    shown, errors = capfd.readouterr()
    assert f"wandb sync {path.parent}" in shown
    assert "wandb:" not in shown + errors


def test_searched_activations_are_tracked_with_their_cost(options: Options) -> None:
    result = search_with("haq", dataclasses.replace(options, activations="search", budget={"bitops": 0.02}))
    assert options.output is not None
    (path,) = options.output.glob("wandb/offline-run-*/*.wandb")
    found = read_back(path)
    config = items(next(record.run for record in found if record.HasField("run")).config.update)
    assert (config["activations"], config["budget"]) == ("search", {"bitops": 0.02})
    summary = {k: v for record in found if record.HasField("summary") for k, v in items(record.summary.update).items()}
    assert summary["cost_ratios"] == result.cost_ratios
    assert summary["cost_ratios"]["bitops"] <= 0.02


def test_a_resumed_search_goes_on_in_its_own_run(options: Options) -> None:
    first = search_with("haq", options)
    second = search_with("haq", dataclasses.replace(options, episodes=6, resume=True))
    assert first.wandb_run == second.wandb_run is not None


def test_what_is_tried_again_is_not_logged_again(options: Options) -> None:
    assert options.output is not None
    search_with("haq", dataclasses.replace(options, episodes=2))
    agent = (options.output / "agent.zip").read_bytes()
    search_with("haq", dataclasses.replace(options, resume=True))
    (options.output / "agent.zip").write_bytes(agent)  # as it was after 2 of the 4 episodes
    before = set(options.output.glob("wandb/offline-run-*"))
    search_with("haq", dataclasses.replace(options, episodes=6, resume=True))
    (folder,) = set(options.output.glob("wandb/offline-run-*")) - before
    (path,) = folder.glob("*.wandb")
    history = [items(record.history.item) for record in read_back(path) if record.HasField("history")]
    assert [row["episode"] for row in history if "episode" in row] == [5, 6]


def test_a_finished_run_says_that_it_is_not_logged(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    search_with("haq", dataclasses.replace(options, track=False))
    search_with("haq", dataclasses.replace(options, resume=True))
    assert "note: a finished run is not logged again\n" in capsys.readouterr().out


def test_searches_that_do_not_learn_log_the_same(options: Options) -> None:
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    result = search_with("search", SearchOptions(method="random", **given))
    assert options.output is not None
    (path,) = options.output.glob("wandb/offline-run-*/*.wandb")
    found = read_back(path)
    run = next(record.run for record in found if record.HasField("run"))
    assert {"random", "Tiny", "budget 0.1"} <= set(run.tags)
    history = [items(record.history.item) for record in found if record.HasField("history")]
    episodes = load_history(options.output / "episodes.csv")
    assert [row["search/accuracy"] for row in history[:4]] == [episode.accuracy for episode in episodes]
    assert [row["evaluations"] for row in history[:4]] == [episode.evaluations for episode in episodes]
    assert run.run_id == result.wandb_run


def test_agents_of_one_group_can_be_compared(options: Options, tmp_path: Path) -> None:
    """The page of the group draws them in the same panels, over the same axes."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    given |= {"wandb_group": "paper", "cache": "none"}
    kinds: dict[str, tuple[str, type[Options], dict[str, Any]]] = {
        "adrl": ("adrl", ADRLOptions, {"k": 3}),
        "haq": ("haq", Options, {}),
        "random": ("search", SearchOptions, {"method": "random"}),
    }
    runs, panels, axes = [], [], []
    for agent, (script, kind, own) in kinds.items():
        search_with(script, kind(**{**given, "output": tmp_path / agent, **own}))
        (path,) = (tmp_path / agent).glob("wandb/offline-run-*/*.wandb")
        found = read_back(path)
        runs.append(next(record.run for record in found if record.HasField("run")))
        history = [items(record.history.item) for record in found if record.HasField("history")]
        panels.append([set(row) - {"_runtime", "_timestamp", "_step"} for row in history])
        axes.append({(r.metric.glob_name, r.metric.step_metric) for r in found if r.HasField("metric")})
        assert [row["episode"] for row in history[:4]] == [1, 2, 3, 4]
        assert sorted(row["evaluations"] for row in history[:4]) == [row["evaluations"] for row in history[:4]]
        summary = [name for r in found if r.HasField("summary") for name in items(r.summary.update)]
        assert {"search_accuracy", "size_ratio", "average_bits", "status"} <= set(summary)
        artifacts = [r.request.log_artifact.artifact for r in found if r.request.HasField("log_artifact")]
        assert [a.type for a in [*artifacts, *(r.artifact for r in found if r.HasField("artifact"))]] == ["result"]
    assert {run.run_group for run in runs} == {"paper"}
    assert [items(run.config.update)["agent"] for run in runs] == list(kinds)
    assert len({run.run_id for run in runs}) == 3
    assert panels[0] == panels[1] == panels[2]
    assert {"search/best_accuracy", "cost/best_accuracy", "search/reward"} <= panels[0][0]
    assert axes[0] == axes[1] == axes[2] >= {("search/*", "episode"), ("cost/*", "evaluations")}


def test_without_wandb_only_track_fails(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(AdrlGymError, match='wandb is not installed: pip install "adrl-gym'):
        search_with("haq", options)
    assert options.output is not None
    assert not (options.output / "result.json").exists()
    assert search_with("haq", dataclasses.replace(options, track=False)).wandb_run is None


def test_a_finetuning_is_tracked_in_a_run_of_its_own(
    options: Options, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images.npz"
    network = f"{OWN / 'branches.py'}:make"
    distill(load_network(network), images, Distillation(images=20, batch_size=20, steps=1))
    searched = tmp_path / "searched"
    untracked = dataclasses.replace(options, env_id=DEFAULT_ID, network=network, data=str(images), track=False)
    search_with("haq", dataclasses.replace(untracked, images=20, output=searched, episodes=1, quantizer="linear"))
    module = importlib.import_module("adrl_agents.cli.finetune")
    finetuning = module.FinetuneOptions(run=searched, epochs=2, batch_size=10, precision="float32", track=True)
    report = module.main(finetuning)
    (path,) = searched.glob("wandb/offline-run-*/*.wandb")
    found = read_back(path)

    run = next(record.run for record in found if record.HasField("run"))
    name = "searched-finetune"
    assert (run.project, run.run_group, run.display_name) == ("adrl-gym", name, f"{name}-s0")
    assert run.run_id == report["wandb_run"] == json.loads((searched / "finetune.json").read_text())["wandb_run"]
    assert {"finetune", "haq", "linear", "direct"} <= set(run.tags)
    config = items(run.config.update)
    assert (config["epochs"], config["bits"], config["start"]) == (2, report["bits"], "direct")
    history = [items(record.history.item) for record in found if record.HasField("history")]
    with (searched / "finetune.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in history[:3]] == [0, 1, 2]
    accuracies = [row["finetune/search_accuracy"] for row in history[:3]]
    assert accuracies == [float(row["search_accuracy"]) for row in rows]
    assert [row["finetune/loss"] for row in history[1:3]] == [float(row["loss"]) for row in rows[1:]]
    assert "finetune" in history[3]
    summary = {k: v for record in found if record.HasField("summary") for k, v in items(record.summary.update).items()}
    assert summary["search_accuracy"] == report["search_accuracy"]
    artifacts = [r.request.log_artifact.artifact for r in found if r.request.HasField("log_artifact")]
    artifacts += [record.artifact for record in found if record.HasField("artifact")]
    names = {entry.path for artifact in artifacts if artifact.type == "network" for entry in artifact.manifest.contents}
    assert names == {"finetuned.safetensors", "finetune.json", "finetune.csv"}
    assert f"wandb sync {path.parent}" in capfd.readouterr().out

    again = module.main(dataclasses.replace(finetuning, resume=True))
    assert again["wandb_run"] == report["wandb_run"]
