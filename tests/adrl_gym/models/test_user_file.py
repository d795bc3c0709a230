"""A user's file is run as a script would be: its folder, its arguments, its end."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import load_network

HEAD = "from torch import nn\n"


@pytest.fixture(autouse=True)
def same_surroundings() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, text: str, **neighbours: str) -> str:
    """Write a user's file and its neighbours; return how a command line names its network."""
    folder.mkdir(exist_ok=True)
    for name, content in neighbours.items():
        (folder / f"{name}.py").write_text(content)
    (folder / "net.py").write_text(HEAD + text)
    return f"{folder / 'net.py'}:make"


def width(reference: str) -> int:
    """Outputs of the network, by which the tests tell networks apart."""
    network = load_network(reference).network
    assert isinstance(network, nn.Linear)
    return network.out_features


IMPORTS = "import timm as blocks\n\ndef make():\n    return nn.Linear(3, blocks.WIDTH)\n"


def test_neighbours_come_before_packages_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    assert width(write(tmp_path / "a", IMPORTS, timm="WIDTH = 7")) == 7


def test_the_folder_comes_first_where_it_is_on_the_path_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = write(tmp_path / "a", IMPORTS.replace("timm", "parts"), parts="WIDTH = 3")
    write(tmp_path / "b", "", parts="WIDTH = 4")
    sys.path[:0] = [str(tmp_path / "b"), str(tmp_path / "a")]
    assert width(reference) == 3
    assert sys.path[0] == str((tmp_path / "a").resolve())


def test_two_files_have_neighbours_of_their_own(tmp_path: Path) -> None:
    text = IMPORTS.replace("timm", "layers")
    references = [write(tmp_path / name, text, layers=f"WIDTH = {w}") for name, w in (("a", 3), ("b", 4))]
    assert [width(reference) for reference in (*references, references[0])] == [3, 4, 3]


def test_a_neighbour_may_be_imported_when_the_network_is_made(tmp_path: Path) -> None:
    text = "def make():\n    import parts\n    return nn.Linear(3, parts.WIDTH)\n"
    assert width(write(tmp_path, text, parts="WIDTH = 9")) == 9


def test_neighbours_may_be_imported_as_in_a_package(tmp_path: Path) -> None:
    text = "from . import more\nfrom .parts import WIDTH\n\ndef make():\n    return nn.Linear(3, WIDTH + more.W)\n"
    parts = [f"WIDTH = {w}" for w in (4, 6)]
    references = [write(tmp_path / n, text, parts=p, more="W = 1") for n, p in zip("ab", parts, strict=True)]
    assert [width(reference) for reference in references] == [5, 7]


def test_the_file_sees_its_own_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["adrl-gym", "adrl", "--network", "net.py:make"])
    text = (
        "import argparse, sys\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--width', type=int, default=6)\noptions = parser.parse_args()\n\n"
        "def make():\n    assert len(sys.argv) == 1, sys.argv\n    parser.parse_args()\n"
        "    return nn.Linear(3, options.width)\n"
    )
    assert width(write(tmp_path, text)) == 6
    assert sys.argv == ["adrl-gym", "adrl", "--network", "net.py:make"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("import sys\nsys.exit(3)\n", "3"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args()\n", "2"),
        ("def make():\n    raise SystemExit('no data')\n", "no data"),
        ("quit()\n", "None"),
    ],
)
def test_a_file_that_exits_is_told(tmp_path: Path, text: str, status: str) -> None:
    before = list(sys.argv)
    with pytest.raises(AdrlGymError, match=rf'net.py exits \(status {status}\) .*below if __name__ == "__main__"'):
        load_network(write(tmp_path, text))
    assert sys.argv == before


def test_a_network_that_is_there_and_a_misspelt_one(tmp_path: Path) -> None:
    assert width(write(tmp_path, "make = nn.Linear(3, 8)\n")) == 8
    with pytest.raises(AdrlGymError, match="has no mkae: did you mean make"):
        load_network(f"{tmp_path / 'net.py'}:mkae")
    with pytest.raises(AdrlGymError, match=r"makes no network .ModuleNotFoundError: No module named 'gone'"):
        load_network(write(tmp_path, "import gone\n"))


def test_classes_of_the_file_can_be_pickled(tmp_path: Path) -> None:
    text = "class Net(nn.Linear):\n    pass\n\ndef make():\n    return Net(3, 5)\n"
    network = load_network(write(tmp_path, text)).network
    torch.save(network, tmp_path / "network.pt")
    again = torch.load(tmp_path / "network.pt", weights_only=False)
    assert type(again) is type(network)


@pytest.mark.parametrize(
    "line",
    [
        "os.chdir('/')",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(False)",
        "torch.set_default_device('meta')",
    ],
)
def test_what_the_file_sets_for_the_process_is_set_back(tmp_path: Path, line: str) -> None:
    before = Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()
    text = f"import os, torch\n{HEAD}{line}\ndef make():\n    return nn.Linear(3, 2, device='cpu')\n"
    network = load_network(write(tmp_path, text)).network
    assert before == (Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device())
    assert network.weight.dtype == torch.float32
    assert torch.zeros(1).device.type == "cpu"
