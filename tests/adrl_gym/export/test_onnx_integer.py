"""ONNX files with quantized activations: integers in onnxruntime, and the same predictions as PyTorch's simulation."""

from pathlib import Path
from typing import NamedTuple

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from adrl_gym import AdrlGymError
from adrl_gym.export.onnx_fused import integer_operators
from adrl_gym.export.onnx_integer_file import save_integer_onnx
from adrl_gym.export.sizes import ExportSizes
from exported import Model


class Blocks(nn.Module):
    """Parts of mobile and residual networks, with norms of either sign, and a padded shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.norm2 = nn.BatchNorm2d(8)
        self.point = nn.Conv2d(8, 12, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(12)
        self.wide = nn.Conv2d(20, 16, 3, 1, 1)
        self.hidden = nn.Linear(16, 12)
        self.classes = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.norm(self.stem(x)), inplace=True)  # (B, 8, H, W)
        y = nn.functional.hardtanh(self.norm2(self.depthwise(x)), 0.0, 6.0)  # (B, 8, H, W)
        y = self.norm3(self.point(y))  # (B, 12, H, W)
        y += nn.functional.pad(x, (0, 0, 0, 0, 2, 2))
        x = torch.cat([x, nn.functional.max_pool2d(y, 3, 1, 1)], 1)  # (B, 20, H, W)
        x = torch.relu(self.wide(x)).mean((2, 3))  # (B, 16)
        return self.classes(torch.relu(self.hidden(x)))  # (B, 5)


class Written(NamedTuple):
    model: Model
    file: Path
    float_file: Path
    sizes: ExportSizes


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("integer")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Blocks()
        images = nn.functional.interpolate(torch.randn(300, 3, 4, 4), size=16, mode="bicubic")
        for norm in (network.norm, network.norm2, network.norm3):
            nn.init.uniform_(norm.weight, -0.6, 1.5)
            norm.momentum = None
        network(images)
        model = Model(network, (8, 4, 2, 3, 1, 6), images)
    file, float_file = folder / "integer.onnx", folder / "float.onnx"
    return Written(model, file, float_file, save_integer_onnx(file, model.quantized, images, float_file=float_file))


def runtime(file: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])  # (N, K)


def test_onnxruntime_predicts_as_the_simulation(written: Written) -> None:
    images = written.model.images
    with torch.no_grad():
        expected = written.model.quantized.simulate(images)(images)  # (N, K)
        plain = written.model.network(images)  # (N, K)
    found = runtime(written.file, images)  # (N, K)
    assert float((found.argmax(1) == expected.argmax(1)).double().mean()) >= 0.995
    torch.testing.assert_close(found, expected, atol=0.05 * float(expected.std()), rtol=0)
    assert not torch.allclose(found, plain, atol=1e-4), "activations are quantized"
    torch.testing.assert_close(runtime(written.file, images[:1]), found[:1])


def test_every_operator_computes_with_integers(written: Written) -> None:
    operators = integer_operators(written.file)
    assert operators.float == {}
    kinds = {name: count for name, count in operators.integer.items() if name not in ("Transpose", "Flatten")}
    assert kinds == {"Conv": 4, "Pad": 1, "Add": 1, "MaxPool": 1, "Concat": 1, "GlobalAveragePool": 1, "Gemm": 2}


def test_weights_are_stored_at_few_bits(written: Written) -> None:
    graph = onnx.load(written.file).graph
    stored = {c.name: onnx.TensorProto.DataType.Name(c.data_type) for c in graph.initializer}
    kinds = [stored[f"{layer}.weight_integers"] for layer in written.model.bits.names]
    assert kinds == ["INT8", "INT4", "INT2", "INT4", "INT2", "INT8"]
    assert written.sizes.file_bytes == written.file.stat().st_size
    assert written.sizes.float_bytes == written.float_file.stat().st_size
    assert not {"Relu", "Clip", "BatchNormalization"} & {node.op_type for node in graph.node}


def test_the_float_file_is_the_network_without_grids(written: Written) -> None:
    images = written.model.images
    with torch.no_grad():
        expected = written.model.network(images)  # (N, K)
    found = runtime(written.float_file, images)  # (N, K)
    torch.testing.assert_close(found, expected, atol=0.1 * float(expected.std()), rtol=0)  # biases are rounded


def test_openvino_computes_the_same_from_the_file(written: Written, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    images = written.model.images[:100]
    save_integer_onnx(tmp_path / "file", written.model.quantized, images, opset=21)  # it has no INT2
    compiled = openvino.Core().compile_model(str(tmp_path / "file"), "CPU")
    found, expected = torch.from_numpy(compiled(images.numpy())[0]), runtime(tmp_path / "file", images)  # (N, K)
    assert float((found.argmax(1) == expected.argmax(1)).double().mean()) >= 0.97


def test_what_stays_float_is_named(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    save_integer_onnx(tmp_path / "file", Model(network, (8, 8, 8), images).quantized, images)
    operators = integer_operators(tmp_path / "file")
    assert operators.integer["Conv"] == 2
    assert operators.float == {"Gelu": 1}
    assert str(operators).endswith("in float: 1 Gelu")


def test_codebooks_and_no_images_are_refused(tmp_path: Path, written: Written) -> None:
    with pytest.raises(AdrlGymError, match="no images to calibrate activations on: give at least one"):
        save_integer_onnx(tmp_path / "file", written.model.quantized, written.model.images[:0])
    codebook = Model(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (3,), torch.randn(9, 3, 2, 2), quantizer="kmeans")
    with pytest.raises(AdrlGymError, match="kmeans makes codebooks, which no runtime computes with in integers"):
        save_integer_onnx(tmp_path / "file", codebook.quantized, codebook.images)
    assert list(tmp_path.iterdir()) == []


def test_paddings_before_convolutions_become_part_of_them(tmp_path: Path) -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.first(nn.functional.pad(x, (0, 1, 2, 1))))  # (B, 4, H, W)
            return self.second(nn.functional.pad(x, (0, 1, 0, 1))).mean((2, 3))  # (B, 4)

    images = torch.randn(50, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    model = Model(Same(), (8, 8), images)
    save_integer_onnx(tmp_path / "file", model.quantized, images)
    operators = integer_operators(tmp_path / "file")
    assert operators.integer.keys() & {"Conv", "Pad"} == {"Conv"}
    convolutions = [node for node in onnx.load(tmp_path / "file").graph.node if node.op_type == "Conv"]
    pads = [next(list(a.ints) for a in node.attribute if a.name == "pads") for node in convolutions]
    assert pads == [[2, 0, 1, 1], [1, 1, 2, 2]]
    with torch.no_grad():
        expected = model.quantized.simulate(images)(images)  # (N, K)
    found = runtime(tmp_path / "file", images)  # (N, K)
    torch.testing.assert_close(found, expected, atol=0.05 * float(expected.std()), rtol=0)


def test_modules_that_share_a_weight_read_the_same_integers(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.first, self.second = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
            self.hidden, self.again = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
            self.second.weight, self.again.weight = self.first.weight, self.hidden.weight
            self.classes = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.stem(x))  # (B, 4, H, W)
            x = torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3))  # (B, 4)
            return self.classes(torch.relu(self.again(torch.relu(self.hidden(x)))))  # (B, 3)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.randn(50, 3, 8, 8)
        model = Model(Shared(), (8, 4, 8, 8), images)
    save_integer_onnx(tmp_path / "file", model.quantized, images)
    stored = [constant.name for constant in onnx.load(tmp_path / "file").graph.initializer]
    assert [name for name in stored if name.endswith("weight_integers")] == [
        f"{layer}.weight_integers" for layer in ("stem", "first", "hidden", "classes")
    ]
    assert {"first.bias_integers", "second.bias_integers"} <= set(stored)
    assert integer_operators(tmp_path / "file").integer["Conv"] == 3
    with torch.no_grad():
        expected = model.quantized.simulate(images)(images)  # (N, K)
    torch.testing.assert_close(runtime(tmp_path / "file", images), expected, atol=1e-5, rtol=0)


def test_nothing_is_computed_in_vain(written: Written) -> None:
    graph = onnx.load(written.file).graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    assert [node.op_type for node in graph.node if not read.intersection(node.output)] == []
