"""Numbers of a run are of its images: other images or labels are refused wherever a run is gone on with."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adrl_agents.cli import run as run_command
from adrl_agents.runs.result import SearchResult
from adrl_gym.datasets.images import ImageSet
from adrl_gym.models.named import load_network
from commands import OWN
from pictures import make_pictures

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "images", 3, 8)


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    """The folder of a run, interrupted as it were after two of four episodes."""
    assert search(tmp_path, data, 2) == 0
    return tmp_path / "run"


def search(folder: Path, data: Path, episodes: int, *more: str) -> int:
    reference = f"{OWN / 'branches.py'}:make"
    own = ["--network", reference, "--data-root", str(data), "--cache", "none", "--method", "random"]
    quick = ["--quantizer", "linear", "--images", "8", "--episodes", str(episodes), "--budget", "0.15"]
    return run_command("search", [*own, *quick, "--output", str(folder / "run"), *more])


def other_pixels(data: Path) -> None:
    for path in data.rglob("*.png"):
        Image.fromarray(np.roll(np.asarray(Image.open(path)), 1)).save(path)


def other_labels(data: Path) -> None:
    (data / "class0000").rename(data / "there")
    (data / "class0001").rename(data / "class0000")
    (data / "there").rename(data / "class0001")


def fewer_pictures(data: Path) -> None:
    for path in data.glob("*/[01].png"):
        path.unlink()


CHANGES = [other_pixels, other_labels, fewer_pictures]


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_refused(
    tmp_path: Path, run: Path, data: Path, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    result = SearchResult.load(run / "result.json")
    assert len(str(result.images_hash)) == 64
    more = ("--data-root", str(data))
    assert run_command("refit", [str(run), *more]) == 0
    assert json.loads((run / "refit.json").read_text())["images_hash"] == result.images_hash
    assert search(tmp_path, data, 3, "--resume") == 0
    change(data)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for go_on in (
        lambda: search(tmp_path, data, 4, "--resume"),
        lambda: run_command("refit", [str(run), *more]),
        lambda: run_command("finetune", [str(run), *more]),
        lambda: run_command("export", [str(run), "--format", "packed", *more]),
        lambda: run_command("budget", [str(run), "--budget", "0.2", *more]),
    ):
        capsys.readouterr()
        assert go_on() == 2
        error = capsys.readouterr().err
        assert "was searched on other images or labels (hash " in error
        assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_runs_without_a_hash_are_gone_on_with(tmp_path: Path, run: Path, data: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    del result["images_hash"]
    (run / "result.json").write_text(json.dumps(result))
    assert search(tmp_path, data, 3, "--resume") == 0
    assert SearchResult.load(run / "result.json").images_hash is not None


def test_the_hash_is_of_images_and_labels() -> None:
    network = load_network(f"{OWN / 'branches.py'}:make")
    assert network.checkpoint == load_network(f"{OWN / 'branches.py'}:make").checkpoint
    x, y = torch.randn(4, 3, 2, 2), torch.arange(4)
    hashes = {ImageSet(x, y).hash, ImageSet(x, None).hash, ImageSet(x, y.flip(0)).hash, ImageSet(x + 1, y).hash}
    assert len(hashes) == 4
    assert ImageSet(x.clone(memory_format=torch.channels_last), y.clone()).hash == ImageSet(x, y).hash
