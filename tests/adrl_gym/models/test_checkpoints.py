"""Checkpoints: saved and loaded, damaged or unsafe, shipped with the package."""

import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from adrl_gym.datasets.splits import Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.checkpoints import SHIPPED, content_hash, load_checkpoint, save_checkpoint
from adrl_gym.models.named import load_network
from adrl_gym.models.state_dicts import fill


@pytest.fixture
def saved(tmp_path: Path, tiny: nn.Module) -> Path:
    """A checkpoint of ``tiny``."""
    save_checkpoint(tmp_path / "tiny.safetensors", tiny.state_dict(), {"conv1.mean": torch.ones(6)})
    return tmp_path / "tiny.safetensors"


def test_checkpoint_comes_back_exactly(saved: Path, tiny: nn.Module) -> None:
    loaded = load_checkpoint(saved)
    state, statistics, checkpoint = loaded.state, loaded.statistics, loaded.hash
    assert state.keys() == tiny.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in tiny.state_dict().items())
    assert list(statistics) == ["conv1.mean"]
    assert checkpoint == content_hash(tiny.state_dict())
    assert re.fullmatch("[0-9a-f]{64}", checkpoint)


def test_hash_depends_on_content_alone() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 3)}
    expected = content_hash(tensors)
    assert content_hash({"b": tensors["b"], "a": tensors["a"].half()}) == expected
    assert content_hash({**tensors, "a": torch.tensor([1.0, 2.5])}) != expected
    assert content_hash({**tensors, "b": torch.zeros(3, 2)}) != expected
    assert content_hash({"a": tensors["a"], "c": tensors["b"]}) != expected
    assert content_hash({**tensors, "b": torch.zeros(2, 3, dtype=torch.int32)}) != expected


def test_truncated_or_tampered_file(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-3] ^= 1
    saved.write_bytes(content)
    with pytest.raises(AdrlGymError, match=r"tiny.safetensors does not match the hash stored in it"):
        load_checkpoint(saved)
    saved.write_bytes(content[:100])
    with pytest.raises(AdrlGymError, match=r"tiny.safetensors is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_nan_in_weights_is_named(tmp_path: Path, tiny: nn.Module, value: float, suffix: str) -> None:
    state = tiny.state_dict()
    state["fc1.weight"][3, 3] = value
    path = tmp_path / f"broken{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(AdrlGymError, match=r"NaN or infinite values in fc1.weight"):
        load_checkpoint(path)


def test_users_files(tmp_path: Path, tiny: nn.Module) -> None:
    expected = content_hash(tiny.state_dict())
    save_file(tiny.state_dict(), tmp_path / "a.safetensors")  # without a stored hash
    torch.save(tiny.state_dict(), tmp_path / "b.pt")
    torch.save({"epoch": 3, "state_dict": tiny.state_dict()}, tmp_path / "c.pth")
    for name in ("a.safetensors", "b.pt", "c.pth"):
        assert load_checkpoint(tmp_path / name).hash == expected


def test_files_that_are_no_weights(tmp_path: Path, tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"weights file .*none.pt does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(AdrlGymError, match="holds no state dict"):
        load_checkpoint(tmp_path / "list.pt")


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_files_that_would_run_code_are_refused(tmp_path: Path, tiny: nn.Module) -> None:
    torch.save(tiny, tmp_path / "module.pt")
    torch.save({**tiny.state_dict(), "x": Code(tmp_path / "ran")}, tmp_path / "code.pt")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    for name in ("module.pt", "code.pt", "plain.pth"):
        with pytest.raises(AdrlGymError, match=rf"{name} holds more than tensors.*could run code, so it is refused"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert (tmp_path / "ran").exists()  # it would have


def test_checkpoint_of_another_network(tiny: nn.Module) -> None:
    state = tiny.state_dict()
    with pytest.raises(AdrlGymError, match=r"file x does not fit Tiny, which has 8 tensors: it lacks conv2.bias: "):
        fill(tiny, {name: tensor for name, tensor in state.items() if name != "conv2.bias"}, "file x")
    with pytest.raises(AdrlGymError, match=r"it has besides conv9.weight: "):
        fill(tiny, {**state, "conv9.weight": torch.zeros(1)}, "file x")
    with pytest.raises(AdrlGymError, match=r"other shapes: fc2.weight \(3, 16\) for \(5, 16\): "):
        fill(tiny, {**state, "fc2.weight": torch.zeros(3, 16)}, "file x")
    with pytest.raises(AdrlGymError, match=r"cifarnet.safetensors does not fit CifarResNet"):
        load_network("resnet20", SHIPPED / "cifarnet.safetensors")


@pytest.mark.parametrize("name", ["resnet20", "cifarnet"])
def test_shipped_checkpoints(name: str) -> None:
    loaded = load_network(name)
    assert loaded.name == name
    assert not loaded.network.training
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in loaded.network.state_dict().values())
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size < 3000 * 1024
    checkpoint = load_checkpoint(path)
    assert checkpoint.hash == loaded.checkpoint == load_network(name, path).checkpoint
    assert bool(checkpoint.statistics) == (name == "cifarnet")  # ResNet20 has batch norms


@pytest.mark.parametrize(("name", "accuracy"), [("resnet20", 89.5), ("cifarnet", 82.0)])
def test_shipped_checkpoints_classify_real_images(cifar_splits: Splits, name: str, accuracy: float) -> None:
    assert cifar_splits.test is not None
    images, labels = next(cifar_splits.test.batches(1000))
    with torch.inference_mode():
        predicted = load_network(name).network(images).argmax(1)
    assert 100 * (predicted == labels).float().mean() > accuracy  # a little less than on all 10,000
