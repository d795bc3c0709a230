"""ONNX: standard integer weights that onnxruntime runs as PyTorch does."""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError, BitConfig
from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.onnx_weights import Opset
from adrl_gym.export.sizes import ExportSizes
from exported import Model

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def written(mixed: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportSizes]:
    file = tmp_path_factory.mktemp("onnx") / "mixed.onnx"
    return file, mixed.save(file)


def weights(file: Path) -> dict[str, np.ndarray]:
    """The float weights that the file computes from its integers."""
    model = onnx.load(file)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Mul" and node.input[1].endswith("_scales")]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = [2, *session.get_inputs()[0].shape[1:]]
    return dict(zip(names, session.run(names, {"images": np.zeros(shape, np.float32)}), strict=True))


@pytest.mark.parametrize("opset", [21, 25])
def test_onnxruntime_computes_the_very_weights(mixed: Model, tmp_path: Path, opset: Opset) -> None:
    save_onnx(tmp_path / "file", mixed.quantized, mixed.images, opset)
    computed = weights(tmp_path / "file")
    assert set(computed) == {f"{name}.weight" for name in mixed.bits.names}
    for name, weight in computed.items():
        assert np.array_equal(weight, mixed.network.state_dict()[name].numpy())


@pytest.mark.parametrize("batch", [1, 3, 60])
def test_onnxruntime_predicts_as_pytorch_on_any_batch(
    mixed: Model, written: tuple[Path, ExportSizes], batch: int
) -> None:
    session = onnxruntime.InferenceSession(written[0], providers=["CPUExecutionProvider"])
    images = mixed.images[:batch]  # (B, C, H, W)
    (logits,) = session.run(None, {"images": images.numpy()})  # (B, K)
    with torch.no_grad():
        expected = mixed.network(images)  # (B, K)
    assert np.array_equal(logits.argmax(1), expected.argmax(1))
    torch.testing.assert_close(torch.from_numpy(logits), expected)


def test_weights_are_integers_and_the_message_counts_them(mixed: Model, written: tuple[Path, ExportSizes]) -> None:
    file, sizes = written
    model = onnx.load(file)
    types = {c.name: onnx.TensorProto.DataType.Name(c.data_type) for c in model.graph.initializer}
    integers = {name: kind for name, kind in types.items() if name.endswith("_integers")}
    assert sorted(integers.values()) == ["INT2", "INT4", "INT4", "INT8"]
    assert integers["twice.weight_integers"] == "INT8"
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    assert set(constants["depthwise.weight_integers"].astype(int).flat) == {-2, -1, 0, 1}, "2 bits: all of INT2"
    assert set(constants["grouped.weight_integers"].astype(int).flat) <= set(range(-7, 8, 2)), "3 bits: odd integers"
    assert constants["grouped.weight_scales"].shape == (6, 1, 1, 1)

    assert sizes.file_bytes == file.stat().st_size
    assert sizes.ideal_bytes == -(-(2 * 36 + 3 * 108 + 4 * 42 + 6 * 49) // 8)
    stored = (2 * 36 + 4 * 108 + 4 * 42 + 8 * 49) // 8
    assert sizes.wider_bytes == stored - sizes.ideal_bytes
    assert sizes.other_bytes == sum(c.nbytes for name, c in constants.items() if not name.endswith("_integers"))
    assert "widths stored in more bits cost" in str(sizes)


def test_the_file_says_whose_it_is_and_nothing_of_this_machine(written: tuple[Path, ExportSizes]) -> None:
    model = onnx.load(written[0])
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["adrl_gym.network"] == "mixed"
    assert properties["adrl_gym.bits"] == '{"depthwise": 2, "grouped": 3, "tokens": 4, "twice": 6}'
    assert [entry.version for entry in model.opset_import] == [25]
    content = written[0].read_bytes()
    for path in (Path(__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_layers_without_bits_stay_float(mixed: Model, tmp_path: Path) -> None:
    quantized = replace(mixed.quantized, bits=BitConfig(("tokens",), (4,)))
    sizes = save_onnx(tmp_path / "file", quantized, mixed.images)
    assert set(weights(tmp_path / "file")) == {"tokens.weight"}
    assert sizes.wider_bytes == 0
    assert "widths stored" not in str(sizes)


def test_a_network_that_writes_into_its_images_gets_a_copy(tmp_path: Path) -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.sub_(0.5).flatten(1))  # (B, 3)

    images = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    model = Model(InPlace(), (4,), images.clone())
    model.images = images.clone()
    model.save(tmp_path / "file")
    assert torch.equal(model.images, images)


class Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.special.gammainc(x.abs(), x.abs() + 1).flatten(1))  # (B, 3)


class Branching(Unsupported):
    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x.flatten(1))  # (B, 3)
        return y if x.isfinite().all() else -y


class Double(Unsupported):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc((x + nn.functional.avg_pool2d(x.double(), 1).float()).flatten(1))  # (B, 3)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Unsupported,
            r"Unsupported cannot become ONNX: it has no operator for prims.igamma; replace that in the network",
        ),
        (
            Branching,
            r"Branching cannot become ONNX: torch.export cannot trace it \(.*data-dependent.*\); use the packed",
        ),
        (Double, r"onnxruntime cannot run this network \(.* implementation for AveragePool.*\): use the packed format"),
    ],
)
def test_what_onnx_cannot_say_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], network: type[nn.Module], message: str
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.fx cannot partition Branching")
        model = Model(network(), (2,), torch.randn(5, 3, 2, 2))
    with pytest.raises(AdrlGymError, match=message):
        model.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_codebooks_are_refused(tmp_path: Path, tiny: nn.Module, batches: Batches) -> None:
    model = Model(tiny, (3, 5, 2, 8), batches[0][0], quantizer="kmeans")
    with pytest.raises(
        AdrlGymError, match="ONNX files have no codebooks, and kmeans makes them: use the packed format, or search with"
    ):
        model.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_no_images_are_refused(tmp_path: Path, mixed: Model) -> None:
    with pytest.raises(AdrlGymError, match="no images to trace the network with: give at least one"):
        save_onnx(tmp_path / "file", mixed.quantized, mixed.images[:0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named(
    tmp_path: Path, mixed: Model, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AdrlGymError, match=rf'ONNX needs {package}: pip install "adrl-gym\[export\]"'):
        mixed.save(tmp_path / "file")


def test_other_predictions_are_noticed(tmp_path: Path, mixed: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __init__(self, *args: object, **keywords: object) -> None: ...

        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.no_grad():
                return [-mixed.network(torch.from_numpy(inputs["images"])).numpy()]  # (N, K)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    with pytest.raises(
        AdrlGymError, match="onnxruntime predicts 60 of 60 images otherwise than PyTorch, so nothing was"
    ):
        mixed.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
