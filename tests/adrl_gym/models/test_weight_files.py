"""Weights files as people have them: suffixes, nestings, wrappers' prefixes, old and half-precision tensors."""

import argparse
import gzip
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.checkpoints import load_checkpoint
from adrl_gym.models.named import load_network

FACTORY = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return self.net(x)
"""
State = dict[str, Tensor]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a user's network."""
    (tmp_path / "mine.py").write_text(FACTORY)
    return tmp_path / "mine.py"


@pytest.fixture
def state() -> State:
    """Weights of it, without the counter of its batch norm."""
    draw = torch.Generator().manual_seed(3)
    shapes = {"features.0.weight": (4, 3, 3, 3), "features.0.bias": (4,), "fc.weight": (5, 4), "fc.bias": (5,)}
    norm = {f"features.1.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    return {name: torch.rand(shape, generator=draw) for name, shape in (shapes | norm).items()}


def loads(file: Path, content: Any, state: State, factory: str = "Net", suffix: str = ".pt") -> None:
    """Save ``content`` and compare what the network gets of it with ``state``."""
    weights = file.with_name(f"weights{suffix}")
    torch.save(content, weights)
    same(load_network(f"{file}:{factory}", weights).network, state)


def same(network: nn.Module, state: State) -> None:
    own = {re.sub("(net|module|_orig_mod)[.]", "", name): tensor for name, tensor in network.state_dict().items()}
    assert {name for name in own if not name.endswith("num_batches_tracked")} == set(state)
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("suffix", [".th", ".pth.tar", ".bin", ".ckpt", ".model", ""])
def test_what_is_in_a_file_counts_not_its_suffix(file: Path, state: State, suffix: str) -> None:
    loads(file, state, state, suffix=suffix)
    save_file(state, file.with_name(f"safe{suffix}"))
    same(load_network(f"{file}:Net", file.with_name(f"safe{suffix}")).network, state)


def test_files_without_zip_are_read(file: Path, state: State) -> None:
    torch.save(state, file.with_name("old.th"), _use_new_zipfile_serialization=False)
    same(load_network(f"{file}:Net", file.with_name("old.th")).network, state)


NESTINGS: dict[str, Callable[[State], Any]] = {
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "best_acc1": torch.tensor(91.0)},
    "model": lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.ones(99)}}, "param_groups": []}},
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": 0.1, "scheduler": {"last_epoch": 3}},
    "net": lambda s: {"net": s, "acc": 91.3, "epoch": 2},
    "ema": lambda s: {"ema": {"decay": 0.9, "shadow": s}},
    "deep": lambda s: {"run": {"weights": {"params": s}}},
    "arguments": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "best": np.float64(91.2)},
    "two": lambda s: {"generator": {"conv.weight": torch.rand(50)}, "discriminator": s},
    "mixed": lambda s: {**s, "epoch": 3},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_state_dicts_are_found_wherever_they_lie(file: Path, state: State, nesting: str) -> None:
    loads(file, NESTINGS[nesting](state), state)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.", "backbone."]
)
def test_a_prefix_of_a_wrapper_is_taken_off(file: Path, state: State, prefix: str) -> None:
    loads(file, prefixed(state, prefix), state)
    loads(file, {"state_dict": prefixed(state, prefix)}, state, "Wrapped")


def test_what_wrappers_add_elsewhere_is_no_obstacle(file: Path, state: State) -> None:
    parts = {name.replace("features.", "features.module."): tensor for name, tensor in state.items()}
    loads(file, parts, state)  # of DataParallel around the features alone, as in PyTorch's example for ImageNet
    loads(file, state, state, "Wrapped")
    lightning = {**prefixed(state, "model."), "criterion.weight": torch.ones(5)}
    loads(file, {"state_dict": lightning}, state)


def test_old_and_half_precision_tensors(file: Path, state: State) -> None:
    half = {name: tensor.half() for name, tensor in state.items()}
    loads(file, half, {name: tensor.float() for name, tensor in half.items()})
    brain = {name: nn.Parameter(tensor.bfloat16()) for name, tensor in state.items()}
    loads(file, brain, {name: tensor.detach().float() for name, tensor in brain.items()})
    loads(file, {"n_averaged": torch.tensor(3), **prefixed(state, "module.")}, state)  # of AveragedModel
    double = {name: tensor.double() for name, tensor in state.items()}
    loads(file, {**double, "features.1.num_batches_tracked": torch.tensor([7])}, state)


def test_the_plain_weights_are_taken_before_their_average(file: Path, state: State) -> None:
    average = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.warns(UserWarning, match=r"several sets of weights that fit Net: model is taken, not model_ema; to"):
        loads(file, {"model_ema": average, "model": state}, state)


def test_what_does_not_fit_is_named_on_both_sides(file: Path, state: State) -> None:
    def error(content: State) -> str:
        content = {**content, "features.1.num_batches_tracked": torch.tensor(1)}
        torch.save({"model": prefixed(content, "module.")}, file.with_name("w.pt"))
        with pytest.raises(AdrlGymError) as raised:
            load_network(f"{file}:Net", file.with_name("w.pt"))
        assert "damaged" not in str(raised.value)
        return str(raised.value).partition("w.pt ")[2].removesuffix(": give the weights of this very network")

    other = {name.replace("fc.", "head."): tensor for name, tensor in state.items()}
    begin = "does not fit Net, which has 9 tensors: "
    assert error(other) == f"{begin}it lacks fc.weight, fc.bias; it has besides head.weight, head.bias"
    assert error({**state, "fc.weight": torch.ones(7, 4)}) == f"{begin}other shapes: fc.weight (7, 4) for (5, 4)"
    whole = {**state, "fc.weight": torch.ones(5, 4, dtype=torch.int8)}
    assert error(whole) == f"{begin}whole numbers: fc.weight (int8)"
    more = {f"blocks.{index}": torch.ones(1) for index in range(12)}
    assert error({**state, **more}) == f"{begin}it has besides blocks.0, blocks.1, blocks.2 and 9 more"


def content_of(kind: str, state: State) -> bytes:
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, a=np.ones(3))
    elif kind == "script":
        torch.jit.save(torch.jit.script(nn.Linear(3, 3)), file)
    elif kind == "tar":
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("weights.pt"))
    elif kind == "cut":
        torch.save(state, file)
        return file.getvalue()[:-100]
    else:
        texts = {"lfs": "version https://git-lfs.github.com/spec/v1\n", "page": "\n<!DOCTYPE html>", "json": "{}"}
        return gzip.compress(b"x") if kind == "gzip" else texts.get(kind, "").encode()
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("npz", "is a zip archive that torch.save did not write: give a safetensors file"),
        ("script", "is a TorchScript program, which could run code: save it with torch.save"),
        ("tar", "is a tar archive: unpack it"),
        ("cut", "is damaged: fetch an intact copy"),
        ("lfs", "is a Git LFS pointer, not the file itself: fetch it with git lfs pull"),
        ("page", "is a web page, not the file behind its link"),
        ("json", "is JSON, perhaps an index of several files"),
        ("gzip", "is compressed with gzip: unpack it"),
        ("empty", "is empty: fetch an intact copy"),
    ],
)
def test_what_is_no_weights_file_is_called_by_its_name(tmp_path: Path, state: State, kind: str, message: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content_of(kind, state))
    with pytest.raises(AdrlGymError, match=re.escape(f"weights.pt {message}")):
        load_checkpoint(path)
    path.write_text("hello")
    with pytest.raises(AdrlGymError, match=r"weights.pt is of no known kind: give a safetensors file, or one that"):
        load_checkpoint(path)
    with pytest.raises(AdrlGymError, match="is a folder: name the file in it"):
        load_checkpoint(tmp_path)


def test_lazy_layers_take_the_shapes_of_the_weights(file: Path, state: State) -> None:
    file.write_text(FACTORY.replace("nn.Conv2d(3, ", "nn.LazyConv2d(").replace("nn.Linear(4, ", "nn.LazyLinear("))
    loads(file, {"model": prefixed(state, "module.")}, state)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sparse", lambda t: t.to_sparse()),
        ("without numbers", lambda t: t.to("meta")),
        ("complex", lambda t: t.to(torch.complex64)),
    ],
)
def test_tensors_that_are_no_plain_weights_are_refused(
    file: Path, state: State, kind: str, change: Callable[[Tensor], Tensor]
) -> None:
    odd = {**state, "fc.weight": change(state["fc.weight"])}
    torch.save({"model": odd}, file.with_name("w.pt"))
    with pytest.raises(AdrlGymError, match=rf"has fc.weight, which is {kind}.*: save the weights of the float"):
        load_network(f"{file}:Net", file.with_name("w.pt"))
    loads(file, {"model": state, "other": {"mask": odd["fc.weight"]}}, state)  # beside the weights they do no harm


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: (state, 3),
        lambda state: [{"epoch": 1}, {"model": state}],
        lambda state: {"checkpoint": {"best": {"ema": {"module": state}}}},
        lambda state: {"model": state, "args": argparse.Namespace(data=Path("data"), output=PurePosixPath("runs"))},
        lambda state: {"model": state, "data": PureWindowsPath("data")},
    ],
)
def test_state_dicts_in_lists_and_beside_paths(file: Path, state: State, wrap: Callable[[State], Any]) -> None:
    loads(file, wrap(state), state)
