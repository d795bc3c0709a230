"""Linear layers that onnxruntime's MatMulNBits computes from packed integers."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError
from adrl_gym.export import packed_layers, save_onnx
from exported import Model

_INPUTS, _BLOCK = 200, 128  # not a multiple of the block


class Wide(nn.Module):
    """Linear layers on the rows of an image, with and without a bias, one used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, 64)
        self.twice = nn.Linear(64, 64, bias=False)
        self.last = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))  # (B, 64)
        return self.last(self.twice(self.twice(x).relu()))  # (B, 5)


class Tokens(nn.Module):
    """A linear layer on three dimensions, which is traced as a transposition and a MatMul."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(_INPUTS, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x.flatten(2)).mean(1)  # (B, 5)


@pytest.fixture(scope="module")
def wide() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(Wide(), (2, 4, 8), torch.randn(40, 2, 10, 10))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adrl_gym.export.onnx_linear._is_faster", lambda weight, rows: True)


def outputs(file: Path, images: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, {"images": images.numpy()})[0]
    return logits


@pytest.mark.usefixtures("always")
@pytest.mark.filterwarnings("ignore:onnxruntime predicts")
def test_packed_layers_compute_the_same_up_to_the_rounding_of_inputs(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for bits in (1, 2, 3, 7):
            model = Model(nn.Sequential(nn.Flatten(), nn.Linear(_INPUTS, 30)), (bits,), torch.randn(40, 2, 10, 10))
            save_onnx(tmp_path / "file", model.quantized, model.images, linear="nbits")
            logits = outputs(tmp_path / "file", model.images)  # (N, 30)
            with torch.no_grad():
                expected = model.network(model.images).numpy()  # (N, 30)
            x, weight = model.images.flatten(1), model.network.state_dict()["1.weight"].abs()  # (N, 200), (30, 200)
            steps = torch.stack([part.abs().amax(1) / 127 for part in x.split(_BLOCK, 1)], 1)  # (N, blocks)
            sums = torch.stack([part.sum(1) for part in weight.split(_BLOCK, 1)], 1)  # (30, blocks)
            bound = (steps / 2 @ sums.T).numpy() + 1e-4  # (N, 30): each input is off by half a step at most
            assert (np.abs(logits - expected) <= bound).all()
            assert np.abs(logits - expected).max() > 1e-6, "the operator's integers computed it"


@pytest.mark.usefixtures("always")
@pytest.mark.filterwarnings("ignore:onnxruntime predicts")
def test_all_linear_layers_are_packed_also_one_used_twice(wide: Model, tmp_path: Path) -> None:
    sizes = save_onnx(tmp_path / "file", wide.quantized, wide.images, linear="nbits")
    assert packed_layers(tmp_path / "file") == ["first", "twice", "last"]
    model = onnx.load(tmp_path / "file")
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulNBits") == 4
    assert not {"Gemm", "MatMul", "Transpose"} & set(kinds)
    assert [entry.name for entry in model.graph.input] == ["images"]
    plain = save_onnx(tmp_path / "plain", wide.quantized, wide.images)
    assert sizes.ideal_bytes == plain.ideal_bytes
    assert sizes.file_bytes == (tmp_path / "file").stat().st_size


@pytest.mark.usefixtures("always")
@pytest.mark.filterwarnings("ignore:onnxruntime predicts")
def test_layers_on_tokens_are_packed(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(Tokens(), (4,), torch.randn(40, 3, 10, 20))
    save_onnx(tmp_path / "file", model.quantized, model.images, linear="nbits")
    assert packed_layers(tmp_path / "file") == ["tokens"]
    assert not any(node.op_type == "Transpose" for node in onnx.load(tmp_path / "file").graph.node)
    with torch.no_grad():
        expected = model.network(model.images).numpy()  # (N, 5)
    assert np.abs(outputs(tmp_path / "file", model.images) - expected).max() < 0.02


def test_layers_that_are_not_faster_stay_as_they_are(
    wide: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adrl_gym.export.onnx_linear._GAIN", np.inf)
    save_onnx(tmp_path / "file", wide.quantized, wide.images, linear="nbits")
    save_onnx(tmp_path / "plain", wide.quantized, wide.images)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "plain").read_bytes()
    assert packed_layers(tmp_path / "file") == []


def test_rows_are_those_of_one_image(wide: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("adrl_gym.export.onnx_linear._is_faster", lambda weight, rows: asked.append(rows))
    save_onnx(tmp_path / "file", wide.quantized, wide.images, linear="nbits")
    tokens = Model(Tokens(), (4,), torch.randn(4, 3, 10, 20))
    save_onnx(tmp_path / "tokens", tokens.quantized, tokens.images, linear="nbits")
    assert asked == [1, 1, 1, 3]


@pytest.mark.usefixtures("always")
def test_rounding_that_changes_predictions_is_told_and_bounded(
    wide: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        logits = wide.network(wide.images)  # (N, 5)

    def differing(count: int) -> Tensor:
        return torch.cat([-logits[:count], logits[count:]])  # (N, 5)

    monkeypatch.setattr("adrl_gym.export.onnx_file.run_model", lambda content, images: differing(4))
    with pytest.warns(UserWarning, match="onnxruntime predicts 4 of 40 images otherwise than PyTorch: MatMulNBits"):
        save_onnx(tmp_path / "file", wide.quantized, wide.images, linear="nbits")
    monkeypatch.setattr("adrl_gym.export.onnx_file.run_model", lambda content, images: differing(5))
    message = re.escape("5 of 40 images otherwise than PyTorch, so nothing was written: export it without nbits")
    with pytest.raises(AdrlGymError, match=message):
        save_onnx(tmp_path / "other", wide.quantized, wide.images, linear="nbits")
    assert not (tmp_path / "other").exists()
