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

from adrl_gym import AdrlGymError, BitConfig, QuantProblem
from adrl_gym.datasets.own import own_splits
from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.onnx_weights import Opset, reads_int2
from adrl_gym.export.sizes import ExportSizes

Batches = list[tuple[Tensor, Tensor]]


class Mixed(nn.Module):
    """A depthwise and a grouped convolution, a norm, a branch, a linear layer on tokens, one used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.tokens = nn.Linear(6, 7)
        self.twice = nn.Linear(7, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.grouped(x + self.depthwise(x)))  # (B, 6, H, W)
        x = self.tokens(x.flatten(2).mT)  # (B, H W, 7)
        return self.twice(self.twice(x).relu()).mean(1)  # (B, 7)


class Model:
    """A network with quantized weights, its bits, and images."""

    def __init__(self, network: nn.Module, bits: tuple[int, ...], images: Tensor, quantizer: str = "linear") -> None:
        with torch.no_grad():
            labels = network.eval()(images).argmax(1)  # (N,)
        problem = QuantProblem(network, own_splits([(images, labels)], len(images)), name="mixed", quantizer=quantizer)
        self.problem, self.quantized, self.images = problem, problem.quantized(bits), images
        self.network, self.bits = self.quantized.network, self.quantized.bits

    def save(self, file: Path) -> ExportSizes:
        return save_onnx(file, self.quantized, self.images)


@pytest.fixture(scope="module")
def mixed() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(Mixed(), (2, 3, 4, 6), torch.randn(60, 4, 8, 8))


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


@pytest.mark.parametrize(
    ("bits", "known", "opset", "types"),
    [
        ((1, 2, 3, 5), True, 25, ["INT2", "INT2", "INT4", "INT8"]),
        ((1, 2, 3, 5), False, 21, ["INT4", "INT4", "INT4", "INT8"]),
        ((3, 4, 3, 8), True, 21, ["INT4", "INT4", "INT4", "INT8"]),
    ],
)
def test_int2_is_used_where_it_is_smaller_and_known(
    mixed: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: tuple[int, ...],
    known: bool,
    opset: int,
    types: list[str],
) -> None:
    monkeypatch.setattr("adrl_gym.export.onnx_file.reads_int2", lambda: known)
    quantized = mixed.problem.quantized(bits)
    save_onnx(tmp_path / "file", quantized, mixed.images)
    model = onnx.load(tmp_path / "file")
    stored = {c.name: onnx.TensorProto.DataType.Name(c.data_type) for c in model.graph.initializer}
    assert [stored[f"{name}.weight_integers"] for name in quantized.bits.names] == types
    assert [entry.version for entry in model.opset_import] == [opset]


def test_a_runtime_without_int2_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, *args: object, **keywords: object) -> None:
            raise RuntimeError("unsupported opset")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Old)
    assert not reads_int2.__wrapped__()


@pytest.mark.parametrize("opset", [21, 25])
def test_loading_folds_the_weights_so_that_it_runs_as_the_float_file(
    mixed: Model, tmp_path: Path, opset: Opset
) -> None:
    save_onnx(tmp_path / "file", mixed.quantized, mixed.images, opset, tmp_path / "float")
    run, logits = [], []
    for name in ("file", "float"):
        settings = onnxruntime.SessionOptions()
        settings.optimized_model_filepath = str(tmp_path / f"{name}.optimized")
        settings.log_severity_level = 3  # the optimized file depends on the processor
        session = onnxruntime.InferenceSession(tmp_path / name, settings, providers=["CPUExecutionProvider"])
        logits.append(session.run(None, {"images": mixed.images.numpy()})[0])
        run.append(sorted(node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node))
    assert run[0] == run[1]
    assert "Cast" not in run[0]
    assert "BatchNormalization" not in run[0], "merged with the convolution before it"
    assert np.array_equal(*logits)


def test_logits_are_those_of_dequantize_linear(mixed: Model, tmp_path: Path) -> None:
    """As files were before: the same integers and scales, and one node that multiplies them."""
    save_onnx(tmp_path / "file", mixed.quantized, mixed.images, opset=21)
    model = onnx.load(tmp_path / "file")
    before = onnx.ModelProto.FromString(model.SerializeToString())
    scales = {c.name: c for c in before.graph.initializer if c.name.endswith("_scales")}
    casts = {node.output[0]: node for node in before.graph.node if node.op_type == "Cast"}
    for node in before.graph.node:
        if node.op_type == "Mul" and node.input[1] in scales:
            scale, cast = scales[node.input[1]], casts[node.input[0]]
            axis, count = max(enumerate(scale.dims), key=lambda entry: entry[1])
            del scale.dims[:]
            scale.dims.append(count)
            node.CopyFrom(
                onnx.helper.make_node("DequantizeLinear", [cast.input[0], scale.name], node.output, axis=axis)
            )
            before.graph.node.remove(cast)
    assert [node.op_type for node in before.graph.node].count("DequantizeLinear") == 4
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    old, new = (
        onnxruntime.InferenceSession(m.SerializeToString(), settings, providers=["CPUExecutionProvider"]).run(
            None, {"images": mixed.images.numpy()}
        )[0]
        for m in (before, model)
    )
    assert np.array_equal(old, new)


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
