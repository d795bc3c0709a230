"""TensorBoard: event files, read back from disk."""

import csv
import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from adrl_agents.options import DEFAULT_ID, Options
from adrl_agents.runs.history import load_history
from adrl_gym import AdrlGymError
from adrl_gym.datasets.distillation import Distillation, distill
from adrl_gym.models.named import load_network
from commands import OWN, search_with

pytestmark = pytest.mark.usefixtures("scripts")


def events(folder: Path) -> Any:
    """Return the values that TensorBoard reads from a folder."""
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def test_a_search_and_its_finetuning_are_logged_to_tensorboard(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images.npz"
    network = f"{OWN / 'branches.py'}:make"
    distill(load_network(network), images, Distillation(images=20, batch_size=20, steps=1))
    given = dataclasses.replace(options, env_id=DEFAULT_ID, network=network, data=str(images), track=False)
    given = dataclasses.replace(given, tensorboard=True, images=20, quantizer="linear")
    assert given.output is not None
    search_with("haq", given)
    search_with("haq", dataclasses.replace(given, episodes=6, resume=True))
    assert f"tensorboard --logdir {given.output / 'tensorboard'}" in capsys.readouterr().out
    found = events(given.output / "tensorboard")
    rows = load_history(given.output / "episodes.csv")
    for metric in ("reward", "accuracy", "best_accuracy", "agreement", "kl", "average_bits"):
        logged = {scalar.step: scalar.value for scalar in found.Scalars(f"search/{metric}")}
        assert logged == pytest.approx({row.episode: getattr(row, metric) for row in rows})
    assert {"bits", "curve"} == set(found.Tags()["images"])

    module = importlib.import_module("adrl_agents.cli.finetune")
    module.main(
        module.FinetuneOptions(run=given.output, epochs=2, batch_size=10, precision="float32", tensorboard=True)
    )
    with (given.output / "finetune.csv").open(newline="") as file:
        epochs = {int(row["epoch"]): float(row["search_accuracy"]) for row in csv.DictReader(file)}
    logged = {s.step: s.value for s in events(given.output / "tensorboard").Scalars("finetune/search_accuracy")}
    assert logged == pytest.approx(epochs)


def test_a_missing_tensorboard_is_named(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(AdrlGymError, match='TensorBoard is not installed: pip install "adrl-gym') as raised:
        search_with("haq", dataclasses.replace(options, track=False, tensorboard=True))
    assert raised.value.parameter == "tensorboard"
