"""The command refit, and the weights that export then takes."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adrl_agents.cli import run as run_command
from adrl_agents.postprocess.run import RunOptions, load_run
from adrl_agents.runs.result import SearchResult
from adrl_gym.export.packed import load_packed
from adrl_gym.refit import refit
from commands import ROOT
from tiny_runs import logits, search

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def searched(scripts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one's own network, refitted."""
    folder = search(tmp_path_factory.mktemp("runs") / "tiny")
    command = [sys.executable, "-W", "error", "agents/refit.py", str(folder), "--images", "30", "--positions", "200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"{folder}/refit.safetensors: search accuracy [\d.]+ -> [\d.]+ \(float [\d.]+\), "
        r"agreement [\d.]+ -> [\d.]+, KL [\d.]+ -> [\d.]+, "
        r"refitted in [\d.]+ s\n",
        done.stdout,
    )
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return tmp_path / "run"


def command(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> int:
    """A command line, without the seconds that a new interpreter takes."""
    return run_command(script, [*map(str, arguments)])


def test_the_file_holds_the_refitted_network_and_the_report_says_what_it_is(run: Path) -> None:
    tiny, there = importlib.import_module("tiny_env"), load_run(RunOptions(run=run))
    expected = refit(there.problem, there.bits.bits, images=30, positions=200)
    loaded = load_packed(run / "refit.safetensors", tiny.Tiny())
    assert torch.equal(logits(loaded), logits(expected))
    report, result = json.loads((run / "refit.json").read_text()), SearchResult.load(run / "result.json")
    metrics = there.problem.measure(loaded)
    assert report["bits"] == result.bits
    assert (report["images"], report["positions"], report["seed"]) == (30, 200, 0)
    assert (report["checkpoint"], report["quantizer"], report["data"]) == (result.checkpoint, "gptq", "own")
    assert report["search_accuracy"] == {
        "direct": pytest.approx(result.search_accuracy),
        "refit": metrics.accuracy,
        "float": pytest.approx(result.float_search_accuracy),
    }
    assert report["search_agreement"] == {"direct": pytest.approx(result.search_agreement), "refit": metrics.agreement}
    assert (report["weights"], report["search_kl"]["refit"]) == ("refit", metrics.kl)
    assert "test_accuracy" not in report, "there are no test images"
    assert report["seconds"] > 0
    assert torch.__version__.startswith(report["versions"]["torch"])


def test_another_refit_replaces_the_first_one_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "refit.safetensors").read_bytes()
    assert command(monkeypatch, "refit", run, "--seed", "1") == 0
    report = json.loads((run / "refit.json").read_text())
    assert (report["images"], report["seed"]) == (40, 1), "all images, as there are fewer than 256"
    assert (run / "refit.safetensors").read_bytes() != before
    assert not list(run.glob("*.part"))


def test_bad_options_leave_the_files_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for option, value in (("images", 0), ("positions", -1), ("seed", -1)):
        assert command(monkeypatch, "refit", run, f"--{option}", value) == 2
        assert re.fullmatch(
            rf"error: {option} must be at least \d, got {value} \(--{option}\)\n", capsys.readouterr().err
        )
    assert command(monkeypatch, "refit", run / "nowhere") == 2
    assert re.fullmatch(r"error: cannot read the search result .*nowhere/result.json: .*\n", capsys.readouterr().err)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_export_takes_the_best_weights_there_are(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = importlib.import_module("tiny_env")
    expected: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "direct": load_run(RunOptions(run=run)).problem.quantized(SearchResult.load(run / "result.json").config.bits),
        "refit": load_packed(run / "refit.safetensors", tiny.Tiny()),
    }
    assert not torch.equal(logits(expected["direct"]), logits(expected["refit"]))

    def exported(recipe: str | None) -> torch.Tensor:
        asked = [] if recipe is None else ["--recipe", recipe]
        assert command(monkeypatch, "export", run, "--format", "packed", "--no-half", *asked) == 0
        return logits(load_packed(run / "packed.safetensors", tiny.Tiny()))

    assert torch.equal(exported("direct"), logits(expected["direct"]))
    assert "packed.safetensors (direct weights): " in capsys.readouterr().out
    assert torch.equal(exported("refit"), logits(expected["refit"]))
    assert torch.equal(exported(None), logits(expected["refit"]))
    assert "packed.safetensors (refit weights): " in capsys.readouterr().out
    command(monkeypatch, "refit", run, "--seed", "5")
    (run / "refit.safetensors").rename(run / "finetuned.safetensors")  # whatever made it, it is of these bits
    (run / "finetune.json").write_text(json.dumps({"search_accuracy": 100.0}))
    assert torch.equal(exported(None), exported("finetuned"))
    assert "packed.safetensors (finetuned weights): " in capsys.readouterr().out
    assert command(monkeypatch, "export", run, "--format", "packed", "--recipe", "refit") == 2
    assert re.fullmatch(
        rf"error: {run} has no refit.safetensors: make it with adrl-gym refit {run}\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("accuracies", "divergences", "taken", "why"),
    [
        (
            (60.0, 59.975),
            (0.08, 0.07),
            "refit",
            "search accuracy direct 60.00, refit 59.98; KL direct 0.0800, refit 0.0700",
        ),
        (
            (60.0, 60.5),
            (0.08, 0.09),
            "direct",
            "search accuracy direct 60.00, refit 60.50; KL direct 0.0800, refit 0.0900",
        ),
        (
            (60.0, 60.0),
            (0.08, 0.08),
            "refit",
            "search accuracy direct 60.00, refit 60.00; KL direct 0.0800, refit 0.0800",
        ),
        (
            (60.0, 61.0, 60.5),
            (0.08, 0.07),
            "refit",
            "search accuracy direct 60.00, refit 61.00, finetuned 60.50; KL direct 0.0800, refit 0.0700",
        ),
        (
            (60.0, 61.0, 61.0),
            (0.08, 0.07),
            "finetuned",
            "search accuracy direct 60.00, refit 61.00, finetuned 61.00; KL direct 0.0800, refit 0.0700",
        ),
    ],
)
def test_auto_takes_the_weights_nearest_to_float_or_finetuned_ones_of_no_less_accuracy(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    accuracies: tuple[float, ...],
    divergences: tuple[float, float],
    taken: str,
    why: str,
) -> None:
    report = {"search_accuracy": accuracies[:2], "search_kl": divergences}
    (run / "refit.json").write_text(
        json.dumps({name: dict(zip(("direct", "refit"), both, strict=True)) for name, both in report.items()})
    )
    if len(accuracies) == 3:
        shutil.copy(run / "refit.safetensors", run / "finetuned.safetensors")
        (run / "finetune.json").write_text(json.dumps({"search_accuracy": accuracies[2]}))
    assert command(monkeypatch, "export", run, "--format", "packed") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"auto takes the {taken} weights: {why}\n")
    assert f"packed.safetensors ({taken} weights)" in shown


def test_weights_without_a_report_are_measured(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = json.loads((run / "refit.json").read_text())["search_accuracy"]
    (run / "refit.json").unlink()  # as a command that is killed between the two files leaves them
    assert command(monkeypatch, "export", run, "--format", "packed") == 0
    assert (
        f"search accuracy direct {measured['direct']:.2f}, refit {measured['refit']:.2f}; KL "
        in capsys.readouterr().out
    )


def test_a_refit_that_made_it_worse_leaves_the_direct_weights(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "adrl_gym.refit.calibrate",
        lambda problem, bits, *_, **__: problem.quantized((1,) * len(bits), calibration="independent"),
    )
    assert command(monkeypatch, "refit", run) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"\nnote: refitting made it worse on 10 images that it did not see \(KL 0.\d+ -> \d.\d+\), "
        r"so refit.safetensors holds the direct weights\n$",
        shown,
    )
    report = json.loads((run / "refit.json").read_text())
    assert report["weights"] == "direct"
    assert report["held_out"] == 10
    assert report["held_out_kl"]["refit"] > report["held_out_kl"]["direct"]
    assert report["search_kl"]["refit"] == report["search_kl"]["direct"]
    there = load_run(RunOptions(run=run))
    expected = there.problem.quantized(there.bits.bits)
    loaded = load_packed(run / "refit.safetensors", importlib.import_module("tiny_env").Tiny())
    assert torch.equal(logits(loaded), logits(expected))


def test_weights_of_another_run_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, differs, options in (
        ("bits", "other bits", {"budget": 0.2}),
        ("quantizer", "the quantizer linear, not gptq", {"quantizer": "linear"}),
    ):
        other = search(tmp_path / name, **options)
        assert command(monkeypatch, "refit", other) == 0
        shutil.copy(other / "refit.safetensors", run / "refit.safetensors")
        capsys.readouterr()
        assert command(monkeypatch, "export", run, "--format", "packed") == 2
        assert re.fullmatch(
            rf"error: {run}/refit.safetensors is of another run, with {differs}: .*adrl-gym refit {run}\n",
            capsys.readouterr().err,
        )
    (run / "refit.safetensors").write_bytes((run / "refit.safetensors").read_bytes()[:-9])
    assert command(monkeypatch, "export", run, "--format", "packed") == 2
    assert "refit.safetensors" in capsys.readouterr().err
    assert not (run / "packed.safetensors").exists()
