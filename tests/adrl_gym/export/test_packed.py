"""The packed file: exact, small, and refused once a byte of it is another."""

import json
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adrl_gym import AdrlGymError, BitConfig, QuantProblem
from adrl_gym.datasets.find import load_splits
from adrl_gym.datasets.own import own_splits
from adrl_gym.export.packed import load_packed, read_packed, save_packed
from adrl_gym.export.packing.half import half_precision
from adrl_gym.layers import ActivationGrid, input_grid
from adrl_gym.models.named import find_network, load_network
from adrl_gym.quantization.network import Origin, QuantizedNetwork
from adrl_gym.quantization.registry import QUANTIZERS

Batches = list[tuple[Tensor, Tensor]]
WIDTHS = st.integers(1, 8)


def quantized(
    network: nn.Module, batches: Batches, bits: tuple[int, ...], quantizer: str = "linear"
) -> QuantizedNetwork:
    """The network with these bits."""
    problem = QuantProblem(network, own_splits(batches, 100), quantizer=quantizer)
    made = problem.quantized(bits)
    return replace(made, origin=Origin(quantizer, "tiny", "abc"))


@pytest.fixture
def file(tmp_path: Path, tiny: nn.Module, batches: Batches) -> Path:
    """A packed ``Tiny`` of 3, 5, 2 and 8 bits."""
    save_packed(tmp_path / "tiny.safetensors", quantized(tiny, batches, (3, 5, 2, 8)))
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_loaded_network_is_the_exported_one_bit_for_bit(
    tmp_path: Path, tiny: nn.Module, batches: Batches, quantizer: str
) -> None:
    exported = quantized(tiny, batches, (3, 5, 2, 8), quantizer)
    sizes = save_packed(tmp_path / "a", exported)
    assert sizes.file_bytes == (tmp_path / "a").stat().st_size
    assert sizes.ideal_bytes == math.ceil((3 * 162 + 5 * 432 + 2 * 2048 + 8 * 80) / 8)
    assert sizes.wider_bytes == 0

    skeleton = type(tiny)()
    before = {name: tensor.clone() for name, tensor in skeleton.state_dict().items()}
    loaded = load_packed(tmp_path / "a", skeleton)
    assert not loaded.training
    for name, tensor in exported.network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert torch.equal(skeleton.state_dict()[name], before[name])
    with torch.inference_mode():
        for images, _ in batches:
            assert torch.equal(loaded(images), exported(images))

    packed = read_packed(tmp_path / "a")
    assert (packed.origin, packed.bits) == (exported.origin, exported.bits)
    save_packed(tmp_path / "b", exported)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Bare(nn.Module):
    """No biases of its own, a layer used twice under two names, a norm with an integer, a flag, half precision."""

    flag: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(4, 4, bias=False)
        self.conv = nn.Conv2d(2, 4, 3, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.early = nn.Linear(4, 4, bias=False)
        self.early.weight = self.late.weight
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("rates", torch.tensor([0.1, 0.2, 0.3]).bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu().mean((2, 3))  # (B, 4)
        return self.late(self.early(x).relu())  # (B, 4)


def test_corrected_biases_shared_weights_and_other_types_come_along(tmp_path: Path) -> None:
    network = Bare().eval()
    data = [(torch.randn(20, 2, 6, 6), torch.zeros(20, dtype=torch.int64))]
    exported = quantized(network, data, (2, 3))
    assert exported.bits.names == ("conv", "early")
    sizes = save_packed(tmp_path / "bare", exported)
    loaded = load_packed(tmp_path / "bare", Bare())
    assert isinstance(loaded, Bare)
    assert loaded.state_dict().keys() == exported.network.state_dict().keys() >= {"conv.bias", "early.bias"}
    for name, tensor in exported.network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype
    assert loaded.late.weight is loaded.early.weight
    assert sizes.ideal_bytes == (2 * 36 + 3 * 16) // 8, "the shared weight counts once"


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_earlier_versions_are_read_as_before(version: int) -> None:
    file = Path(__file__).with_name(f"version{version}.safetensors")  # as that version wrote it
    layer = load_packed(file, nn.Sequential(nn.Linear(3, 2))).get_submodule("0")
    assert isinstance(layer, nn.Linear)
    assert torch.equal(layer.weight, torch.tensor([[0.5, -1.5, 1.5], [0.1, 0.3, -0.1]]))
    assert torch.equal(layer.bias, torch.tensor([0.1, -0.2]))
    assert input_grid(layer) == (None if version == 1 else ActivationGrid(bits=4, scale=0.5, zero_point=3))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_half_precision_keeps_codes_and_predictions_and_is_stored_in_half_the_bytes(
    tmp_path: Path, quantizer: str
) -> None:
    torch.manual_seed(0)
    network = Bare().eval()
    network.norm.weight.data, network.norm.bias.data = torch.tensor([0.7, -1.3, 0.0, 2.1]), torch.randn(4)
    network.norm.running_mean, network.norm.running_var = torch.randn(4), torch.rand(4) + 0.1
    images = torch.randn(200, 2, 6, 6)
    exported = quantized(network, [(images, torch.zeros(200, dtype=torch.int64))], (2, 3), quantizer)
    halved = half_precision(exported, images)
    assert halved is not exported
    for name, coded in exported.encode().items():
        assert torch.equal(halved.encode()[name].codes, coded.codes)
    with torch.no_grad():
        assert torch.allclose(halved(images), exported(images), atol=0.01)
        assert torch.equal(halved(images).argmax(1), exported(images).argmax(1))
    whole, half = (save_packed(tmp_path / "file", network) for network in (exported, halved))
    assert half.ideal_bytes == whole.ideal_bytes
    assert half.other_bytes < 0.6 * whole.other_bytes
    loaded = load_packed(tmp_path / "file", Bare())
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in halved.state_dict().items())
    stored = load_file(tmp_path / "file")
    assert stored["scales"].dtype == torch.float16


def test_half_precision_leaves_a_network_alone_whose_predictions_it_would_change() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([1.0, 1.0001])
    exported = QuantizedNetwork(nn.Sequential(layer).eval(), BitConfig(("0",), (1,)), Origin("linear", "one", "abc"))
    assert half_precision(exported, torch.rand(10, 2)) is exported
    layer.bias.data = torch.tensor([1.0, 1e6])  # more than float16 holds
    assert half_precision(exported, torch.rand(10, 2)) is exported
    with pytest.raises(AdrlGymError, match="0 images to compare predictions on: at least 1 is needed"):
        half_precision(exported, torch.rand(0, 2))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_resnet20_takes_little_more_than_its_bits(tmp_path: Path, bits: int) -> None:
    problem = QuantProblem(
        load_network("resnet20").network, load_splits("resnet20", "data-free", images=20), quantizer="linear"
    )
    config = BitConfig(tuple(layer.name for layer in problem.layers), (bits,) * len(problem.layers))
    network = problem.quantized(config.bits)
    sizes = save_packed(tmp_path / "resnet20", network)
    assert sizes.ideal_bytes == sum(problem.parameters) * bits / 8
    state = network.network.state_dict()
    steps = 4 * sum(layer.weight_shape[0] for layer in problem.layers)
    unquantized = sum(t.nbytes for name, t in state.items() if name not in {f"{n}.weight" for n in config.names})
    assert (steps + unquantized) / 2 <= sizes.other_bytes <= steps + unquantized, "numbers that float16 holds take half"
    assert sizes.coded_bytes <= sizes.ideal_bytes
    assert (tmp_path / "resnet20").stat().st_size <= 1.06 * sizes.ideal_bytes + sizes.other_bytes
    assert sizes.factor == pytest.approx(sizes.float_bytes / (tmp_path / "resnet20").stat().st_size)
    load_packed(tmp_path / "resnet20", find_network("resnet20").make())


@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_any_other_byte_is_noticed(packed: Path, position: float, change: int) -> None:
    content = bytearray(packed.read_bytes())
    place = int(position * len(content))
    before = chr(content[place])
    content[place] ^= change
    assume(not (before.isspace() and chr(content[place]).isspace()))  # the header's padding, which JSON skips
    altered = packed.with_name("altered")
    altered.write_bytes(content)
    with pytest.raises(AdrlGymError, match="altered"):
        read_packed(altered)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_a_truncated_file_is_noticed(packed: Path, share: float) -> None:
    content = packed.read_bytes()
    short = packed.with_name("short")
    short.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AdrlGymError, match=r"packed file .*short is damaged .*: fetch an intact copy"):
        read_packed(short)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one layer, small so that every part of it is hit."""
    file = tmp_path_factory.mktemp("packed") / "one.safetensors"
    layer = nn.Linear(16, 16)
    layer.weight.data.sign_()
    save_packed(file, QuantizedNetwork(nn.Sequential(layer), BitConfig(("0",), (1,)), Origin("linear", "one", "abc")))
    return file


def test_a_file_of_another_network_is_refused(file: Path) -> None:
    with pytest.raises(AdrlGymError, match=r"packed file .* does not fit CifarNet, .*: conv1.weight \(6,"):
        load_packed(file, find_network("cifarnet").make())
    with pytest.raises(AdrlGymError, match=r"does not fit Sequential, .* it has besides conv1.weight, "):
        load_packed(file, nn.Sequential())


def test_other_files_are_refused(file: Path) -> None:
    tensors = load_file(file)
    with pytest.raises(AdrlGymError, match=r"packed file .*nowhere does not exist"):
        read_packed(file.with_name("nowhere"))
    for content in ({}, {"adrl_gym": "[]"}, {"adrl_gym": "{"}, {"adrl_gym": "{}"}):
        save_file(tensors, file, content)
        with pytest.raises(AdrlGymError, match=r"is no packed file: give one that adrl-gym export has written"):
            read_packed(file)
    save_file(tensors, file, {"adrl_gym": json.dumps({"version": 4, "content_hash": ""})})
    with pytest.raises(AdrlGymError, match="is of version 4, and this adrl-gym reads 1 to 3"):
        read_packed(file)


def test_the_layout_is_as_documented(file: Path) -> None:
    layout = json.loads(zlib.decompress(load_file(file)["layout"].numpy().tobytes()))
    assert layout[:2] == [
        {"name": "conv1.weight", "shape": [6, 3, 3, 3], "bits": 3, "scales": 6},
        {"name": "conv1.bias", "shape": [6], "dtype": "float32"},
    ]
    page = (Path(__file__).parents[3] / "docs" / "packed-format.md").read_text()
    (example,) = re.findall(r"```json\n(\[.*?\])\n```", page, re.DOTALL)
    assert json.loads(example)[:2] == layout[:2]


def test_nothing_is_written_of_a_wrong_export(tmp_path: Path, tiny: nn.Module, batches: Batches) -> None:
    network = quantized(tiny, batches, (3, 5, 2, 8))
    with pytest.raises(
        AdrlGymError, match="unknown layer conv9 in the bit configuration: Tiny has no such quantizable layer"
    ):
        save_packed(tmp_path / "file", replace(network, bits=BitConfig(("conv1", "conv9"), (3, 5))))
    with pytest.raises(AdrlGymError, match="layer conv1: its weights do not fit 2 bits"):
        save_packed(tmp_path / "file", replace(network, bits=BitConfig(network.bits.names, (2, 5, 2, 8))))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AdrlGymError, match=r"cannot write .*nowhere/file: No such file or directory"):
        save_packed(tmp_path / "nowhere" / "file", network)
