"""The command finetune: its files, stops and restarts, and one clear message for each mistake."""

import csv
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adrl_agents.cli import run as run_command
from adrl_agents.options import Options
from adrl_agents.postprocess.run import LoadedRun, RunOptions, load_run
from adrl_gym.datasets.distillation import Distillation, distill
from adrl_gym.export.packed import load_packed
from adrl_gym.models.named import load_network
from commands import OWN, ROOT
from pictures import make_pictures

NETWORK = f"{OWN / 'branches.py'}:make"
FILES = {"finetuned.safetensors", "finetune.csv", "finetune.json", "finetune.png", "finetune.pt"}
pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise in three class folders: 20 each to train and search on, 4 each to test on."""
    root, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, each in (("train", 20), ("val", 4)):
        make_pictures(root / split, 3, each, draw=draw)
    return root


def search(output: Path, **changes: Any) -> Path:
    """The folder of a search of one's own network."""
    options: dict[str, Any] = {"network": NETWORK, "quantizer": "linear", "budget": 0.1, "images": 12, "episodes": 1}
    importlib.import_module("adrl_agents.cli.haq").main(Options(**{**options, "output": output, **changes}))
    return output


@pytest.fixture(scope="module")
def searched(scripts: None, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    return search(tmp_path_factory.mktemp("runs") / "own", data_root=pictures)


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A folder with a copy of its result, for a test of its own."""
    (tmp_path / "run").mkdir()
    shutil.copy(searched / "result.json", tmp_path / "run")
    return tmp_path / "run"


def arguments(run: Path, pictures: Path, *more: object, epochs: int = 3) -> list[str]:
    given = (run, "--data-root", pictures, "--epochs", epochs, "--batch-size", 16, "--precision", "float32", *more)
    return list(map(str, given))


def finetune(monkeypatch: pytest.MonkeyPatch, given: list[str], script: str = "finetune") -> int:
    """The command line, without the seconds that a new interpreter takes."""
    return run_command(script, given)


def log(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "finetune.csv").read_text().splitlines()))


def check_files(run: Path, pictures: Path) -> LoadedRun:
    """They are whole, and say the same."""
    there = load_run(RunOptions(run=run, data_root=pictures))
    report, rows = json.loads((run / "finetune.json").read_text()), log(run)
    network = load_packed(run / "finetuned.safetensors", there.problem.network)
    assert there.problem.measure(network).accuracy == report["search_accuracy"]
    test = there.problem.measure(network, "test")
    names = ("accuracy", "agreement", "kl", "loss")
    assert [getattr(test, name) for name in names] == pytest.approx([report[f"test_{name}"] for name in names])
    assert test.accuracy == report["test_accuracy"]
    best = rows[report["best_epoch"]]
    assert (float(best["search_accuracy"]), float(best["test_accuracy"])) == (
        report["search_accuracy"],
        report["test_accuracy"],
    )
    assert [int(row["epoch"]) for row in rows] == list(range(report["epochs"] + 1))
    return there


def test_the_command_line_writes_all_files_and_says_what_it_gained(run: Path, pictures: Path) -> None:
    command = [sys.executable, "-W", "error", "agents/finetune.py", *arguments(run, pictures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        "begins with the directly quantized weights\n"
        r"data: 48 training images; folder .*: 12 search images drawn from train/, 12 test images from val/\n"
        rf"{run}/finetuned.safetensors: test accuracy [\d.]+ -> [\d.]+ \(float [\d.]+\), "
        r"agreement [\d.]+ %, KL [\d.]+, loss [\d.]+\n",
        done.stdout,
    )
    assert {path.name for path in run.iterdir()} == {"result.json", *FILES}
    there = check_files(run, pictures)
    rows = log(run)
    on_test = ["test_accuracy", "test_agreement", "test_kl", "test_loss"]
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "search_accuracy", *on_test, "search_kl"]
    assert len(rows) == 4
    assert rows[0]["loss"] == ""
    report = json.loads((run / "finetune.json").read_text())
    assert (report["status"], report["start"], report["bits"]) == ("finished", "direct", there.bits.as_dict())
    assert report["checkpoint"] == there.problem.checkpoint
    assert report["settings"]["precision"] == "float32"
    assert there.problem.float_test is not None
    assert report["float_test_accuracy"] == there.problem.float_test.accuracy
    assert report["float_test_loss"] == pytest.approx(there.problem.float_test.loss)
    direct = there.problem.measure(there.problem.quantized(there.bits.bits))
    assert float(rows[0]["search_accuracy"]) == direct.accuracy
    with Image.open(run / "finetune.png") as picture:
        assert picture.format == "PNG"


def test_refitted_weights_are_the_start_where_there_are_some(
    run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(monkeypatch, arguments(run, pictures, "--start", "refit")) == 2
    assert "has no refit.safetensors: make it with adrl-gym refit" in capsys.readouterr().err
    assert finetune(monkeypatch, [str(run), "--data-root", str(pictures), "--images", "12"], "refit") == 0
    capsys.readouterr()
    assert finetune(monkeypatch, arguments(run, pictures, epochs=1)) == 0
    assert "begins with the refitted weights" in capsys.readouterr().out
    refitted = json.loads((run / "refit.json").read_text())
    assert float(log(run)[0]["search_accuracy"]) == refitted["search_accuracy"]["refit"]
    assert json.loads((run / "finetune.json").read_text())["start"] == "refit"


def test_refitted_weights_are_no_start_where_they_are_worse(
    run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(monkeypatch, [str(run), "--data-root", str(pictures), "--images", "12"], "refit") == 0
    report = {"search_accuracy": {"direct": 50.0, "refit": 60.0}, "search_kl": {"direct": 0.1, "refit": 0.2}}
    (run / "refit.json").write_text(json.dumps(report))
    capsys.readouterr()
    assert finetune(monkeypatch, arguments(run, pictures, epochs=1)) == 0
    assert capsys.readouterr().out.startswith(
        "auto takes the direct weights: search accuracy direct 50.00, refit 60.00; KL direct 0.1000, refit 0.2000\n"
        "begins with the directly quantized weights\n"
    )


def test_what_a_search_measured_after_finetuning_is_not_what_its_weights_do(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = search(tmp_path / "run", data_root=pictures, finetune_images=16)
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "search_accuracy": 100.0}))
    assert finetune(monkeypatch, arguments(run, pictures, epochs=1)) == 0
    report = json.loads((run / "finetune.json").read_text())
    assert report["start_search_accuracy"] < 100
    capsys.readouterr()
    assert finetune(monkeypatch, [str(run), "--data-root", str(pictures), "--format", "packed"], "export") == 0
    measured = f"direct {report['start_search_accuracy']:.2f}, finetuned {report['search_accuracy']:.2f}"
    assert capsys.readouterr().out.startswith(
        f"auto takes the finetuned weights: search accuracy {measured}; KL direct "
    )


def test_a_finetuning_is_not_replaced_and_a_finished_one_is_told_again(
    run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(monkeypatch, arguments(run, pictures)) == 0
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".safetensors", ".csv", ".pt")}
    assert finetune(monkeypatch, arguments(run, pictures)) == 2
    assert "holds a finetuning: go on with --resume, or remove" in capsys.readouterr().err
    assert finetune(monkeypatch, arguments(run, pictures, "--resume", epochs=5)) == 2
    assert "is of another finetuning (other settings" in capsys.readouterr().err
    assert finetune(monkeypatch, arguments(run, pictures, "--resume")) == 0
    assert all((run / name).read_bytes() == content for name, content in before.items())


@pytest.fixture(scope="module")
def never_stopped(searched: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(searched, whole)
    with pytest.MonkeyPatch.context() as patch:
        assert finetune(patch, arguments(whole, pictures, epochs=15)) == 0
    return whole


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_finetuning_leaves_whole_files_and_goes_on(
    never_stopped: Path, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "agents/finetune.py", *arguments(run, pictures, epochs=15)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Where the tests run in the background, the shell has them ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while process.poll() is None and not ((run / "finetune.csv").exists() and len(log(run)) > 2):
            time.sleep(0.01)
        process.send_signal(how)
        _, error = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert error.endswith(f"the best so far is in {run}/finetuned.safetensors; go on with --resume\ninterrupted\n")
    stopped = len(log(run))
    assert 2 < stopped < 16
    if (run / "finetune.json").exists():  # a kill may fall between a new best and its report
        check_files(run, pictures)
    assert finetune(monkeypatch, arguments(run, pictures, "--resume", epochs=15)) == 0
    for name in ("finetune.csv", "finetuned.safetensors"):
        assert (run / name).read_bytes() == (never_stopped / name).read_bytes()
    assert {path.name for path in run.iterdir()} >= {"result.json", *FILES}


def test_a_distilled_set_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images.npz"
    distill(load_network(NETWORK), images, Distillation(images=40, batch_size=20, steps=2))
    run = search(tmp_path / "run", data=str(images))
    capsys.readouterr()
    assert finetune(monkeypatch, [str(run), "--epochs", "2", "--batch-size", "16"]) == 0
    shown = capsys.readouterr().out
    assert "data: 40 training images; data-free set images.npz" in shown
    assert re.search(r"agreement with the float network [\d.]+ -> [\d.]+ \(float 100.00\)\n", shown)
    report = json.loads((run / "finetune.json").read_text())
    assert (report["data"], report["test_accuracy"], report["epochs"]) == ("data-free", None, 2)
    assert finetune(monkeypatch, [str(run)], "refit") == 0
    assert "refit.safetensors: agreement with the float network " in capsys.readouterr().out
    (run / "refit.safetensors").unlink()
    assert finetune(monkeypatch, [str(run), "--resume", "--epochs", "2", "--no-distillation"]) == 2
    assert "the training images have no labels: let the float network teach" in capsys.readouterr().err


def test_without_training_images_it_says_what_to_do(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = search(tmp_path / "own", network=None, env_id="tiny_env:Tiny-v0")
    everything = search(tmp_path / "everything", data_root=pictures, images=60)
    for run, where in ((own, []), (everything, ["--data-root", str(pictures)])):
        before = {path.name for path in run.iterdir()}
        assert finetune(monkeypatch, [str(run), *where]) == 2
        message = capsys.readouterr().err
        assert re.fullmatch(r"error: no training images beside those of the search .*adrl-gym distill.*\n", message)
        assert {path.name for path in run.iterdir()} == before


def test_a_loss_that_is_not_finite_leaves_the_start(
    run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        return torch.tensor(torch.nan, requires_grad=True)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", broken)
    assert finetune(monkeypatch, arguments(run, pictures)) == 2
    assert re.search(r"error: the loss became nan in epoch 1: lower learning_rate", capsys.readouterr().err)
    check_files(run, pictures)
    assert json.loads((run / "finetune.json").read_text())["best_epoch"] == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--learning-rate", "0"], "learning_rate must be above 0 and below 1, got 0 (--learning-rate)"),
        (["--batch-size", "1"], "batch_size must be at least 2, got 1 (--batch-size)"),
    ],
)
def test_impossible_options_are_refused(
    run: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert finetune(monkeypatch, [str(run), "--data-root", str(pictures), *more]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == ["result.json"]
