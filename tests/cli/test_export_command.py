"""The command export: from a run's folder to one file, and one clear message for each mistake."""

import importlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from adrl_agents.cli import run as run_command
from adrl_agents.options import Options
from adrl_agents.postprocess.run import RunOptions, load_run
from adrl_agents.runs.result import SearchResult
from adrl_gym.export.packed import load_packed
from adrl_gym.export.packing.half import half_precision
from adrl_gym.models.named import load_network
from commands import ROOT

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def searched(scripts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one's own network."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    options = Options(env_id="tiny_env:Tiny-v0", budget=0.1, images=40, episodes=3, output=folder)
    importlib.import_module("adrl_agents.cli.haq").main(options)
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A folder with a copy of its result, for a test of its own."""
    (tmp_path / "result.json").write_bytes((searched / "result.json").read_bytes())
    return tmp_path


def export(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command line, without the seconds that a new interpreter takes."""
    return run_command("export", [*map(str, arguments)])


def test_the_command_line_writes_the_packed_file_and_prints_the_sizes(run: Path) -> None:
    command = [sys.executable, "-W", "error", "agents/export.py", str(run), "--format", "packed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    file, result = run / "packed.safetensors", SearchResult.load(run / "result.json")
    ideal = math.ceil(sum(b * p for b, p in zip(result.config.bits, result.parameters, strict=True)) / 8)
    problem = load_run(RunOptions(run=run)).problem
    exported = problem.quantized(result.config.bits)
    halved = half_precision(exported, problem.splits.search.images)
    told = "scales, biases and norms are in float16: the predictions on the search images stay\n"
    told = "" if halved is exported else told
    assert re.fullmatch(
        rf"{file} \(direct weights\): float network [\d,]+ bytes, weights at their own widths {ideal:,} bytes .*, file "
        rf"{file.stat().st_size:,} bytes: [\d.]+ times smaller than the float one\n{told}",
        done.stdout,
    )
    assert {path.name for path in run.iterdir()} == {"result.json", "packed.safetensors"}

    tiny = importlib.import_module("tiny_env")
    loaded = load_packed(file, tiny.Tiny())
    with torch.no_grad():
        assert torch.equal(loaded(tiny.images), halved(tiny.images))
        agreement = (loaded(tiny.images[:40]).argmax(1) == tiny.network(tiny.images[:40]).argmax(1)).float().mean()
    assert 100 * float(agreement) == pytest.approx(result.search_agreement), "it is the network that was measured"


def test_onnx_goes_where_output_says_and_runs_beside_float(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(monkeypatch, run, "--format", "onnx", "--opset", 21, "--output", run / "mine.onnx") == 0
    assert re.fullmatch(
        r".*mine.onnx \(direct weights\): float network [\d,]+ bytes, .*\n"
        r"speed: float network [\d.]+ ms, file [\d.]+ ms \(onnxruntime, batch 1, 2 threads\): [\d.]+ times as fast .*"
        r"\n",
        capsys.readouterr().out,
    )
    assert [entry.version for entry in onnx.load(run / "mine.onnx").opset_import] == [21]
    tiny = importlib.import_module("tiny_env")
    session = onnxruntime.InferenceSession(run / "mine.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": tiny.images.numpy()})  # (N, K)
    assert logits.shape == (60, 10)
    assert {path.name for path in run.iterdir()} == {"result.json", "mine.onnx"}


def test_activations_of_8_bits_are_calibrated_at_export(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(monkeypatch, run, "--format", "onnx", "--activations", 8) == 0
    assert re.fullmatch(
        r".*network.onnx \(direct weights, activations of 8 bits\): float network [\d,]+ bytes, .*\n"
        r"onnxruntime computes with integers: .*Gemm.*; in float: .*\n"
        r"speed: float network [\d.]+ ms, file [\d.]+ ms .*\n",
        capsys.readouterr().out,
    )
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(run / "network.onnx").graph.node}


def test_linear_layers_of_onnxruntime_are_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adrl_gym.export.onnx_linear._GAIN", 0.0)
    assert export(monkeypatch, run, "--format", "onnx", "--linear", "nbits") == 0
    assert "\nMatMulNBits computes: fc1, fc2\nspeed: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("packed",), "error: --linear is for --format onnx: leave it out"),
        (("onnx", "--activations", 8), "error: --linear nbits is for float activations: "),
    ],
)
def test_linear_layers_of_onnxruntime_are_for_onnx_files_in_float(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    message: str,
) -> None:
    assert export(monkeypatch, run, "--linear", "nbits", "--format", *arguments) == 2
    assert capsys.readouterr().err.startswith(message)


def test_activations_are_for_onnx_files(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(monkeypatch, run, "--format", "packed", "--activations", 8) == 2
    assert capsys.readouterr().err.startswith("error: --activations is for --format onnx: a packed file holds what ")


def change(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda result: result.update(values)


def rename_layer(result: dict[str, Any]) -> None:
    for part in ("bits", "shapes"):
        result[part] = {{"fc2": "fc9"}.get(name, name): value for name, value in result[part].items()}


def change_options(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda result: result["options"].update(values)


@pytest.mark.parametrize("form", ["packed", "onnx"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_options(budget=0.05), r"break its own budget: they make 0\.\d+ of the 32-bit size, and --budget 0.05"),
        (change(size_ratio=0.01), "cannot read the search result .*result.json: the bits make a size_ratio of"),
        (
            change(checkpoint="0" * 64),
            r"searched with other weights of the network \(hash 000000000000, here .*--weights",
        ),
        (rename_layer, "the bit configuration says nothing of layer fc2; is it of another network"),
        (change_options(env_id="no_module:Tiny-v0"), "unknown environment no_module:Tiny-v0"),
        (change_options(budget="small"), "budget='small': a number is needed"),
    ],
)
def test_a_result_that_cannot_be_trusted_is_refused(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    damage: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    result = json.loads((run / "result.json").read_text())
    damage(result)
    (run / "result.json").write_text(json.dumps(result))
    assert export(monkeypatch, run, "--format", form) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", capsys.readouterr().err)
    assert [path.name for path in run.iterdir()] == ["result.json"]


def test_a_folder_without_a_result_and_a_place_that_cannot_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(monkeypatch, run / "nowhere", "--format", "packed") == 2
    assert re.fullmatch(r"error: cannot read the search result .*nowhere/result.json: .*\n", capsys.readouterr().err)
    for form in ("packed", "onnx"):
        assert export(monkeypatch, run, "--format", form, "--output", run / "nowhere" / "file") == 2
        assert re.fullmatch(r"error: cannot write .*nowhere/file: No such file .*\n", capsys.readouterr().err)
    assert [path.name for path in run.iterdir()] == ["result.json"]


def test_other_weights_than_the_searched_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(
        env_id="adrl_gym/CifarNet-Cifar10-v0", quantizer="linear", images=20, episodes=1, output=tmp_path / "run"
    )
    importlib.import_module("adrl_agents.cli.haq").main(options)
    before = {path.name for path in (tmp_path / "run").iterdir()}
    state = load_network("cifarnet").network.state_dict()
    state["fc3.bias"] += 1
    save_file(state, tmp_path / "other.safetensors")
    assert export(monkeypatch, tmp_path / "run", "--format", "packed", "--weights", tmp_path / "other.safetensors") == 2
    assert re.fullmatch(
        r"error: .*distilled from checkpoint eae5a55176d1, the weights in use.*\n", capsys.readouterr().err
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} == before
