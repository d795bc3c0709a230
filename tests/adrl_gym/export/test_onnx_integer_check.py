"""Comparison of an integer network in onnxruntime with its simulation."""

from typing import NamedTuple

import onnx
import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError
from adrl_gym.export import onnx_integer_check
from adrl_gym.export.onnx_integer_check import check_integers
from adrl_gym.export.onnx_integer_file import save_integer_onnx
from adrl_gym.quantization import IntegerNetwork
from exported import Model


class Made(NamedTuple):
    model: onnx.ModelProto
    network: IntegerNetwork
    images: torch.Tensor


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3), *pooled)
    images = torch.randn(23, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model, file = Model(network, (8, 4, 8), images), tmp_path_factory.mktemp("made") / "file"
    save_integer_onnx(file, model.quantized, images)
    return Made(onnx.load(file), model.quantized.integer_network(images), images)


def _with_bias(made: Made, layer: str) -> onnx.ModelProto:
    """Return the model with another bias of the layer's first channel."""
    model = onnx.ModelProto()
    model.CopyFrom(made.model)
    constant = next(c for c in model.graph.initializer if c.name.startswith(f"{layer}.bias"))
    values = onnx.numpy_helper.to_array(constant).copy()
    values[0] += 100_000
    constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    return model


def test_a_network_that_amplifies_rounding_is_compared_operator_by_operator(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.0, 1.0, 1.0, 1.0])  # of all images, and of each batch
    with monkeypatch.context() as changed:
        changed.setattr(onnx_integer_check, "_equal_share", lambda *_: next(shares))
        with pytest.warns(UserWarning, match="100.0 % of 23 images otherwise than PyTorch, though every operator"):
            check_integers(made.model, made.network, made.images)
    check_integers(made.model, made.network, made.images)  # without a warning


@pytest.mark.parametrize(("layer", "tensor"), [("0", "relu"), ("6", "logits")])
def test_an_operator_that_computes_otherwise_is_named(
    made: Made, layer: str, tensor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_integer_check, "_EQUAL", 1.01)  # it may change few predictions
    with pytest.raises(AdrlGymError, match=f"with the same grids, from {tensor} on, so nothing was written"):
        check_integers(_with_bias(made, layer), made.network, made.images)
