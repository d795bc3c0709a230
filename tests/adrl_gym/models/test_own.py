"""One's own network by name, from torchvision, timm or a file, with images from a folder; all that can be wrong."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from adrl_agents.cli import run as run_command
from adrl_agents.runs.result import SearchResult
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.datasets.find import find_splits
from adrl_gym.datasets.own import own_splits
from adrl_gym.layers import find_layers, quantizable, shared_weights, unquantized
from adrl_gym.models.named import load_network
from adrl_gym.quantization.registry import find_quantizer
from commands import OWN
from pictures import make_pictures

pytestmark = pytest.mark.usefixtures("no_pictures")

FILE = OWN / "branches.py"
SIZE = (20, 24)  # pixels
GENERIC = "adrl_gym/MixedPrecisionQuant-v0"


@pytest.fixture(autouse=True)
def one_seed() -> Iterator[None]:
    """Random weights are the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three class folders."""
    return make_pictures(tmp_path_factory.mktemp("data") / "images", 3, 6, SIZE)


@pytest.fixture(scope="module")
def train_and_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same below ``train/`` and ``val/``."""
    root = tmp_path_factory.mktemp("split")
    make_pictures(root / "train", 3, 6, SIZE)
    make_pictures(root / "val", 3, 2, SIZE)
    return root


@pytest.fixture(scope="module")
def shufflenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of torchvision's smallest ShuffleNet, of branches and depthwise convolutions, with 3 outputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    path = tmp_path_factory.mktemp("weights") / "shufflenet.safetensors"
    save_file(network.state_dict(), path)
    return path


def search(monkeypatch: pytest.MonkeyPatch, **options: object) -> int:
    """``agents/train_adrl.py`` with these options, in this process."""
    options = {"episodes": 2, "images": 8, "profile_images": 4, "quantizer": "linear", **options}
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", *_words(value))]
    return run_command("adrl", arguments)


def _words(value: object) -> list[str]:
    return [str(word) for word in (value if isinstance(value, list) else [value])]


def test_a_network_of_a_file_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train_and_val: Path
) -> None:
    output = tmp_path / "run"
    assert search(monkeypatch, output=output, network=f"{FILE}:make", data_root=train_and_val, budget=0.1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "8 search images drawn from train/, 6 test images from val/" in said
    assert "note: left shares its weights with right: they are quantized once" in said
    assert "note: grouped is used 2 times in a forward pass: its weights are quantized once" in said
    result = SearchResult.load(output / "result.json")
    assert list(result.bits) == ["stem", "depthwise", "left", "grouped", "head"]
    assert (result.env_id, result.data) == (GENERIC, "folder")
    assert result.options["network"] == f"{FILE}:make"
    assert result.test_accuracy is not None
    assert search(monkeypatch, output=output, network=f"{FILE}:with_nan", data_root=train_and_val, budget=0.1) == 2
    assert "belongs to another run, with --network" in capsys.readouterr().err


def test_kept_layers_are_listed_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    options: dict[str, object] = {"network": f"{FILE}:make", "data_root": images, "output": tmp_path / "run"}
    assert search(monkeypatch, budget=0.15, keep=["stem=8", "h*=7,d*=6"], **options) == 0
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert {name: b for name, b in result.bits.items() if name in ("stem", "head", "depthwise")} == {
        "stem": 8,
        "head": 7,
        "depthwise": 6,
    }
    assert result.options["keep"] == {"stem": 8, "h*": 7, "d*": 6}
    assert result.size_ratio <= 0.15
    assert search(monkeypatch, budget=0.15, keep=["stem=8", "h*=7,d*=6"], resume=[], **options) == 0  # nothing to do
    for keep, message in (("fc=8", "keep fc=8: no layer has such a name; there are stem"), ("fc", "keep fc: give a")):
        capsys.readouterr()
        assert search(monkeypatch, keep=[keep], **{**options, "output": tmp_path / "other"}) == 2
        assert message in capsys.readouterr().err


def test_a_network_of_torchvision_is_searched_with_one_s_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path, shufflenet: Path
) -> None:
    options = {"network": "torchvision:shufflenet_v2_x0_5", "weights": shufflenet, "data_root": images, "episodes": 1}
    monkeypatch.chdir(tmp_path)
    assert search(monkeypatch, output=tmp_path / "run", indicator="distance", **options) == 0
    result = SearchResult.load(tmp_path / "run" / "result.json")
    assert result.shapes["fc"] == [3, 1024]
    assert len(result.bits) == 57


def test_strings_work_in_python_too(images: Path) -> None:
    batches = [(torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.long))]
    env = gym.make(GENERIC, network=f"{FILE}:make", data=batches, budget=0.1, quantizer="linear")
    assert env.reset()[0].shape == (10,)
    env = gym.make(GENERIC, network=f"{FILE}:make", data_root=images, quantizer="linear")
    assert env.unwrapped.problem.name == "make"  # type: ignore[attr-defined]


def test_a_flat_folder_is_halved(images: Path) -> None:
    splits = find_splits(load_network(f"{FILE}:make"), data_root=images)
    assert splits.source == "folder images: 9 search images drawn from one half of it, 9 test images from the other"
    assert splits.test is not None
    search = {x.numpy().tobytes() for x in splits.search.images}
    test = {x.numpy().tobytes() for batch, _ in splits.test.batches(4) for x in batch}
    assert len(search | test) == 18
    assert splits.search.images.shape == (9, 3, 16, 16)


def two_sharing() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten())
    network[2].weight = network[0].weight
    return network


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x).relu()).flatten(1)


@pytest.mark.parametrize("make", [two_sharing, Twice])
def test_shared_weights_are_quantized_once_for_all_their_uses(make: Any) -> None:
    network, x = make().eval(), torch.randn(6, 3, 4, 4)
    (layer,) = find_layers(network, (3, 4, 4))
    assert layer.uses == 2
    assert layer.macs == 2 * 16 * 81
    problem = QuantProblem(
        network, own_splits([(x, torch.zeros(6, dtype=torch.long))]), quantizer="linear", bias_correction=False
    )
    assert len(shared_weights(problem.layers)) == 1
    assert problem.unquantized is None
    measured = problem.evaluate([2])
    with torch.no_grad():
        reference = network(x)
        weight = quantizable(network, layer).weight
        weight.copy_(find_quantizer("linear").quantize(weight, [2])[2])
        logits = network(x)
    p, q = reference.log_softmax(1), logits.log_softmax(1)
    assert measured.kl == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
    assert measured.loss == pytest.approx(float(-q[:, 0].mean()), rel=1e-5)  # all labels are 0


def test_attention_with_bare_parameters_is_left_float_and_said() -> None:
    network = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=3).eval()
    layers = find_layers(network, (3, 16, 16))
    names = [f"encoder.layers.encoder_layer_{layer}.mlp.{index}" for layer in range(2) for index in (0, 3)]
    assert [layer.name for layer in layers] == ["conv_proj", *names, "heads.head"]
    note = unquantized(network, layers)
    assert note is not None
    inputs, outputs = 2 * 3 * 16 * 16, 2 * 16 * 16
    assert note.startswith(f"{inputs + outputs + 16 + 5 * 16:,} of ")
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in note
    network.bare = nn.Parameter(torch.randn(4, 4))
    x, y = torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.long)
    with pytest.warns(UserWarning, match="weights stay float and count in no size"):
        gym.make(GENERIC, network=network, data=[(x, y)], quantizer="linear")


def test_timm_s_transformer_is_searched_whole() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=24, num_heads=2, depth=2, num_classes=3)
    x, y = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    problem = QuantProblem(network, own_splits([(x, y)]), quantizer="linear", budget=0.25)
    assert [layer.name for layer in problem.layers[1:5]] == [
        f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ]
    finest, coarsest = (problem.evaluate([bits] * len(problem.layers)).kl for bits in (8, 1))
    assert 0 < finest < coarsest / 100


def test_weights_that_are_computed_anew_in_every_pass_are_left_float() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.Flatten())
    layers = find_layers(network, (3, 8, 8))
    assert [layer.name for layer in layers] == ["0"]
    assert "1.parametrizations.weight.original1" in str(unquantized(network, layers))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("torchvision:resnet19", "torchvision has no network 'resnet19' for images; did you mean resnet18"),
        ("torchvision:fcn_resnet50", "torchvision has no network 'fcn_resnet50' for images"),
        ("timm:resnet19", "timm has no network 'resnet19' for images; did you mean"),
        ("timm:0123", "timm has no network '0123' for images; see timm's list of models"),
        ("none.py:make", "there is no file none.py"),
        (str(FILE), "unknown network '.*branches.py': choose one of .* or torchvision:NAME, timm:NAME or FILE.py:"),
        ("jax:resnet18", "unknown network 'jax:resnet18': give torchvision:NAME"),
        (f"{FILE}:nothing", "branches.py:nothing makes no network, as the file has no nothing: .* without arguments"),
        (f"{FILE}:asks", "branches.py:asks makes no network .*missing 1 required positional argument"),
        (f"{FILE}:no_network", "branches.py:no_network returns int: an nn.Module is needed"),
        (f"{FILE}:with_nan", "Branches gives NaN or infinite logits, and its depthwise.weight holds NaN"),
        (f"{FILE}:without_layers", "Sequential has nothing to quantize"),
        (f"{FILE}:says_nothing", "nothing says what images says_nothing takes: .*network.pretrained_cfg = "),
    ],
)
def test_networks_that_cannot_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    images: Path,
    reference: str,
    message: str,
) -> None:
    assert search(monkeypatch, output=tmp_path / "run", network=reference, data_root=images) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_files_and_folders_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, shufflenet: Path
) -> None:
    def error(**options: object) -> str:
        assert search(monkeypatch, output=tmp_path / "run", **{"network": f"{FILE}:make", **options}) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    torch.save(load_network(f"{FILE}:make").network, tmp_path / "network.pt")
    assert "could run code, so it is refused" in error(data_root=images, weights=tmp_path / "network.pt")
    assert "does not fit Branches, which has " in error(data_root=images, weights=shufflenet)
    assert "does not exist" in error(data_root=images, weights=tmp_path / "none.pt")
    assert "no images for make: name a folder" in error()
    assert "there is no folder" in error(data_root=tmp_path / "none")
    (tmp_path / "flat").mkdir()
    assert "holds no class folders: put" in error(data_root=tmp_path / "flat")
    make_pictures(tmp_path / "four", 4, 1)
    assert "four has 4 class folders, the network 3 outputs (class0000, class0001, class0002, class0003): " in error(
        data_root=tmp_path / "four"
    )
    make_pictures(tmp_path / "two" / "train", 3, 1)
    (make_pictures(tmp_path / "two" / "val", 3, 1) / "class0002").rename(tmp_path / "two" / "val" / "other")
    assert "have different class folders, class0002 is in one of them alone" in error(data_root=tmp_path / "two")
    make_pictures(tmp_path / "empty", 3, 0)
    assert "holds no images" in error(data_root=tmp_path / "empty")
    assert "data 'imagenet' is for a named network" in error(data="imagenet", data_root=images)
    assert "no cifar-10-batches-py in " in error(data="cifar10", data_root=images)
    assert "are two networks: give one" in error(env_id="adrl_gym/CifarNet-Cifar10-v0")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert "broken.npz is no whole data-free set" in error(data=tmp_path / "broken.npz")


def test_without_timm_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AdrlGymError, match=r'pip install "adrl-gym\[timm\]"'):
        load_network("timm:resnet18")


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_keywords: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    for name in ("torchvision:resnet18", "timm:resnet18"):
        with pytest.raises(AdrlGymError, match=r"no route to host.*by another way and name "):
            load_network(name)
