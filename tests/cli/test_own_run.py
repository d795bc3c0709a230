"""Every command line that searches, or goes on from a run, on one's own network, weights and folder of images."""

import json
import re
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from adrl_agents.runs.result import SearchResult
from adrl_gym import BitConfig, QuantProblem
from adrl_gym.costs import average_bits, size_ratio
from adrl_gym.datasets.own import own_splits
from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.packed import load_packed, save_packed
from adrl_gym.models.named import load_network
from commands import OWN

pytestmark = pytest.mark.usefixtures("no_pictures")

AGENTS = Path(__file__).parents[2] / "agents"
FILE = OWN / "branches.py"
SEARCHES = ("train_adrl", "train_haq", "train_ddpg", "train_sb3", "search")
QUICK = ("--quantizer", "linear", "--images", 8, "--episodes", 2, "--budget", 0.15)


class Command:
    """A script of agents/, without the seconds that a new interpreter takes; its exit status."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys
        self.out = self.err = ""

    def __call__(self, script: str, *arguments: object) -> int:
        self._patch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            runpy.run_path(str(AGENTS / f"{script}.py"), run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            self.out, self.err = self._capsys.readouterr()
        return 0


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three class folders of eight pictures of noise."""
    folder, draw = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for index in range(24):
        (folder / f"class{index % 3}").mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class{index % 3}" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights than the factory's."""
    network = load_network(f"{FILE}:make").network
    with torch.no_grad():
        network.get_parameter("head.weight").mul_(3)
    file = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, file)
    return file


@pytest.fixture
def run(tmp_path: Path, images: Path, weights: Path, command: Command) -> Path:
    """The folder of a search of the network of ``FILE:make``."""
    own = ("--network", f"{FILE}:make", "--weights", weights, "--data-root", images)
    assert command("search", "--method", "uniform", *own, *QUICK, "--output", tmp_path / "runs" / "run") == 0
    return tmp_path / "runs" / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("script", sorted(path.stem for path in AGENTS.glob("*.py")))
def test_every_command_line_takes_one_s_own(command: Command, script: str) -> None:
    assert command(script, "--help") == 0
    given = set(re.findall(r"--[a-z-]+", command.out))
    goes_on = "Folder of a search" in " ".join(command.out.replace("│", " ").split())  # whose network is known
    assert {"--weights", "--device"} < given
    assert "--network" in given or goes_on
    assert "--data-root" in given or script == "distill"
    assert command("search", "--from", "runs/run", "--help") == 0
    assert {"--weights", "--data-root", "--device"} < set(re.findall(r"--[a-z-]+", command.out))


@pytest.mark.parametrize("script", SEARCHES)
def test_every_search_searches_it(tmp_path: Path, images: Path, weights: Path, command: Command, script: str) -> None:
    own = ("--network", f"{FILE}:make", "--weights", weights, "--data-root", images, "--keep", "stem=8", "h*=7")
    method = ("--method", "random") if script == "search" else ()
    assert command(script, *own, *method, *QUICK, "--output", tmp_path / "run") == 0
    assert "note: left shares its weights with right: they are quantized once" in " ".join(command.out.split())
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert result.checkpoint == load_network(f"{FILE}:make", weights).checkpoint
    assert (result.bits["stem"], result.bits["head"]) == (8, 7)
    assert result.size_ratio <= 0.15


def test_what_goes_on_from_a_run_needs_no_more_than_the_images(run: Path, images: Path, command: Command) -> None:
    for form, more in (("packed", ["--no-half"]), ("onnx", [])):
        assert command("export", run, "--format", form, "--data-root", images, *more) == 0
    network = load_packed(run / "packed.safetensors", load_network(f"{FILE}:make").network)
    session = onnxruntime.InferenceSession(run / "network.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(5, 3, 16, 16)
    (logits,) = session.run(None, {"images": x.numpy()})  # (5, 3)
    torch.testing.assert_close(torch.from_numpy(logits), network(x).detach())
    file = onnx.load(run / "network.onnx")
    integers = [tensor.name for tensor in file.graph.initializer if tensor.name.endswith("_integers")]
    assert sorted(integers) == [f"{name}.weight_integers" for name in ("depthwise", "grouped", "head", "left", "stem")]
    matrices = [t for t in file.graph.initializer if t.name not in integers and not t.name.endswith("_scales")]
    float_matrices = [t.name for t in matrices if len(t.dims) > 1]
    assert float_matrices == [], "shared weights are stored once, as integers"
    assert command("search", "--from", run, "--data-root", images, "--budget", 0.1, "--episodes", 3) == 0
    assert SearchResult.load(run.parent / "make-from-uniform-0.1-s0" / "result.json").size_ratio <= 0.1


def test_weights_that_have_moved_are_named_anew(run: Path, images: Path, weights: Path, command: Command) -> None:
    result = json.loads((run / "result.json").read_text())
    result["options"]["weights"] = str(weights.with_name("gone.safetensors"))
    (run / "result.json").write_text(json.dumps(result))
    export = ("export", run, "--format", "packed", "--data-root", images)
    assert command(*export) == 2
    assert re.fullmatch(r"error: .*gone.safetensors does not exist.*\n", command.err)
    assert command(*export, "--weights", weights) == 0


def add_a_layer(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    result["bits"]["extra"], result["shapes"]["extra"] = 1, [1]
    bits, parameters = result["bits"].values(), [int(np.prod(shape)) for shape in result["shapes"].values()]
    result |= {"size_ratio": size_ratio(bits, parameters), "average_bits": average_bits(bits, parameters)}
    (run / "result.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    "goes_on", [("export", "--format", "packed"), ("search", "--budget", "0.1"), ("refit",), ("finetune",)]
)
def test_what_cannot_be_trusted_is_refused_by_all(
    run: Path, images: Path, tmp_path: Path, command: Command, goes_on: tuple[str, ...]
) -> None:
    def error(*arguments: object) -> str:
        script, *options = goes_on
        assert command(script, *(["--from"] if script == "search" else []), run, *options, *arguments) == 2
        assert content(run) == before
        assert [path.name for path in run.parent.iterdir() if not path.name.startswith("cache.")] == ["run"]
        assert command.err.count("\n") == 1
        return command.err

    before = content(run)
    other, code = tmp_path / "other.safetensors", tmp_path / "code.pt"
    network = load_network(f"{FILE}:make").network
    save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, other)
    torch.save(network, code)
    assert "was searched with other weights of the network (hash " in error("--data-root", images, "--weights", other)
    assert "could run code, so it is refused" in error("--data-root", images, "--weights", code)
    assert "no images for make: name a folder" in error()
    add_a_layer(run)
    before = content(run)
    assert "unknown layer extra in the bit configuration; the network has stem," in error("--data-root", images)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("depends", r"Depends cannot become ONNX: torch.export cannot trace it \(.*\); use the packed format"),
        ("rare", r"Rare cannot become ONNX: it has no operator for prims.igamma; replace that in the network"),
    ],
)
def test_what_onnx_cannot_say_can_be_searched_and_packed(
    tmp_path: Path, images: Path, command: Command, factory: str, message: str
) -> None:
    run, data = tmp_path / "run", ("--data-root", images)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own = ("--network", f"{FILE}:{factory}", *data, *QUICK, "--output", run)
        assert command("train_adrl", *own, "--profile-images", 4, "--context", "prefix") == 0
        said = [str(warning.message) for warning in caught if "torch.fx" in str(warning.message)]
        assert len(said) == (factory == "depends")
        assert command("export", run, "--format", "packed", *data) == 0
        before = content(run)
        assert command("export", run, "--format", "onnx", *data) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", command.err)
    assert content(run) == before


def test_a_transformer_s_linear_layers_are_exported(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        keywords: dict[str, Any] = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 1, "num_classes": 3}
        network = timm.create_model("vit_tiny_patch16_224", **keywords)
        x = torch.randn(8, 3, 32, 32)
    problem = QuantProblem(network, own_splits([(x, torch.zeros(8, dtype=torch.long))]), budget=0.25)
    names = tuple(layer.name for layer in problem.layers)
    assert "blocks.0.attn.qkv" in names
    bits = BitConfig(names, tuple(2 + index for index in range(len(names))))
    quantized = problem.quantized(bits.bits)
    save_packed(tmp_path / "packed", quantized)
    save_onnx(tmp_path / "onnx", quantized, x)
    with torch.inference_mode():
        logits = quantized(x)  # (8, 3)
        assert torch.equal(load_packed(tmp_path / "packed", network)(x), logits)
    as_written = onnxruntime.SessionOptions()  # by itself onnxruntime replaces parts by approximations
    as_written.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(tmp_path / "onnx", as_written, providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), logits)
