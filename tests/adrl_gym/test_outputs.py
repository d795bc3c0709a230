"""Networks whose output is no ``(N, K)``: structures, predictions at every pixel or token, tokens as inputs."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_agents.adrl import ADRL
from adrl_agents.cli import run as run_command
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import bits_from_action
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.envs import problem_of
from adrl_gym.evaluation.metrics import sample_metrics
from adrl_gym.evaluation.result_cache import pack_metrics, unpack_metrics
from adrl_gym.export import load_packed, save_onnx, save_packed
from adrl_gym.outputs import Output, by_position, with_output
from adrl_gym.qat import finetune
from adrl_gym.refit import refit
from pictures import make_pictures

BITS, WORDS, LENGTH = (2, 8), 12, 6


class Segmentation(nn.Module):
    """Dictionary as torchvision's with logits ``(B, 4, H, W)`` of every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        features = self.backbone(x)  # (B, 8, H, W)
        return OrderedDict(out=self.classifier(features), aux=features)


@dataclass
class TokenOutput:
    """Class as transformers' with attributes."""

    logits: Tensor
    hidden: Tensor | None = None


class TokenClassifier(nn.Module):
    """Logits ``(B, T, 5)`` of every token ``(B, T)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 8)
        self.dense = nn.Linear(8, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> TokenOutput:
        return TokenOutput(self.head(self.dense(self.embedding(input_ids)).relu()))


class Block(nn.Module):
    """Causal attention with one head, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)  # (B, T, 8) each
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))  # (B, T, 8)
        return x + self.down(F.gelu(self.up(self.norm2(x))))  # (B, T, 8)


class LanguageModel(nn.Module):
    """Two blocks; a pair of logits ``(B, T, 12)`` of the next token and hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, 8)
        self.places = nn.Embedding(LENGTH, 8)
        self.register_buffer("numbers", torch.arange(LENGTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(8, WORDS)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.blocks(self.tokens(ids) + self.places(self.numbers))  # (B, T, 8)
        return self.head(hidden), hidden


Case = tuple[nn.Module, Tensor, Tensor, Output, int, Callable[[Any], Tensor]]


def case(name: str) -> Case:
    """A network, its inputs, labels, its output, the label to ignore, and what gives its logits ``(N, ..., K)``."""
    draw = torch.Generator().manual_seed(1)
    made: Any
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "segmentation":
            network: nn.Module = Segmentation()
            network(torch.randn(32, 3, 8, 8))
            x = torch.randn(40, 3, 8, 8, generator=draw)
            made = network.eval(), x, "out", 255, lambda whole: whole["out"].movedim(1, -1)
        elif name == "tokens":
            x = torch.randint(WORDS, (40, LENGTH), generator=draw)
            made = TokenClassifier().eval(), x, "logits", -100, lambda whole: whole.logits
        else:
            x = torch.randint(WORDS, (40, LENGTH), generator=draw)
            made = LanguageModel().eval(), x, lambda whole: whole[0], -100, lambda whole: whole[0]
    network, x, output, ignored, logits = made
    with torch.inference_mode():
        y = logits(network(x.clone())).argmax(-1)  # (N, ...)
    y = torch.where(torch.rand(y.shape, generator=draw) < 0.2, (y + 1) % 4, y)  # some are wrong
    return network, x, torch.where(torch.rand(y.shape, generator=draw) < 0.3, ignored, y), output, ignored, logits


def accuracy(network: nn.Module, made: Case, picked: bool = True) -> float:
    """Share of right predictions at all positions that count, in percent."""
    _, x, y, _, ignored, logits = made
    with torch.inference_mode():
        whole = network(x.clone())
    predicted = by_position(whole).argmax(2).view(y.shape) if picked else logits(whole).argmax(-1)
    return float((predicted == y)[y != ignored].double().mean() * 100)


CASES = ("segmentation", "tokens", "language")


@pytest.mark.parametrize("name", CASES)
def test_search_refit_and_packed_export_measure_every_position(name: str, tmp_path: Path) -> None:
    made = case(name)
    network, x, y, output, ignored, _ = made
    keywords: dict[str, Any] = {
        "data": [(x, y)],
        "output": output,
        "ignore_index": ignored,
        "quantizer": "linear",
        "budget": 0.15,
    }
    env = gym.make(
        "adrl_gym/MixedPrecisionQuant-v0", network=network, bits=BITS, cache=tmp_path / "c.sqlite", **keywords
    )
    problem = problem_of(env)
    assert problem.unquantized is None
    assert problem.float_search.accuracy == pytest.approx(accuracy(network, made, picked=False))
    assert 70 < problem.float_search.accuracy < 95
    steps = len(problem.searchable)
    agent = ADRL(env=env, profile_images=8, seed=0, warmup_episodes=1)
    agent.learn(2 * steps)
    actions = agent.replay_buffer.actions[steps : 2 * steps, 0, 0]  # type: ignore[union-attr]
    bits = problem.project([bits_from_action(float(action), *BITS) for action in actions])
    quantized = problem.quantized(bits)
    measured = problem.evaluate(bits)
    assert measured.accuracy == pytest.approx(accuracy(quantized.network, made))
    costs = problem.costs([bits], "accuracy")  # (1, N)
    assert 100 - costs.mean() == pytest.approx(measured.accuracy)
    refitted = refit(problem, bits)
    assert problem.measure(refitted).kl < problem.measure(quantized).kl
    save_packed(tmp_path / "packed", refitted)
    loaded = load_packed(tmp_path / "packed", network)  # the network as the user has it
    assert accuracy(loaded, made, picked=False) == pytest.approx(problem.measure(refitted).accuracy)
    again = QuantProblem(with_output(network, output), problem.splits, problem.config)
    assert again.evaluate(bits) == measured
    assert again.evaluations == 0, "the cache on disk knows it"


def test_networks_are_cut_and_evaluated_in_parts() -> None:
    for name in CASES:
        network, x, y, output, _, _ = case(name)
        splits = Splits(ImageSet(x, torch.where(y == 255, -100, y)), None, "made")
        problem = QuantProblem(with_output(network, output), splits, quantizer="linear", budget=0.3, bits=BITS)
        bits = [3] * len(problem.layers)
        problem.evaluate(bits)  # a warning, that it cannot be partitioned, would be an error
        assert problem.measure(problem.quantized(bits)).kl == pytest.approx(problem.evaluate(bits).kl, rel=1e-3)


def test_metrics_at_positions_are_those_of_each_position() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, reference = torch.randn(4, 5, 3, 2, generator=draw), torch.randn(4, 5, 3, 2, generator=draw)
    labels = torch.randint(5, (4, 3, 2), generator=draw)
    labels[0], labels[1, 0, 0] = -100, -100
    kept = (labels != -100).flatten()
    rows = [t.movedim(1, -1).reshape(-1, 5)[kept] for t in (logits, reference)]  # (P, 5) each
    one = sample_metrics(logits[None], reference, labels)[0]
    expected = sample_metrics(rows[0][None], rows[1], labels.flatten()[kept])[0].metrics()
    found = one.metrics()
    for of in ("accuracy", "agreement", "kl", "loss"):
        assert getattr(found, of) == pytest.approx(getattr(expected, of), rel=1e-5)
    assert unpack_metrics(pack_metrics(one)).metrics() == found
    assert one.counted is not None
    assert one.counted.tolist() == [0, 5, 6, 6]
    tokens = sample_metrics(logits.flatten(2).mT[None], reference.flatten(2).mT, labels.flatten(1))[0]
    assert np.array_equal(tokens.wrong, one.wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, r"Segmentation returns a OrderedDict with 'out', 'aux' for one image: say which"),
        ({"output": "logits"}, r"returns a OrderedDict with 'out', 'aux', so there is no output 'logits'"),
        ({"output": 0}, "so there is no output 0"),
        (
            {"ignore_index": 254},
            "label 255 of image 0 is out of range: .* 4 outputs, .*; give the label .* ignore_index",
        ),
        (
            {"labels": lambda y: y[:, :4]},
            r"labels of one image have shape \(4, 8\), and Segmentation returns \(1, 4, 8, 8\)",
        ),
        ({"labels": lambda y: y[:, 0, 0] % 4}, r"logits .* are needed, or labels of every position \(images, 8, 8\)"),
        ({"labels": lambda y: y * 0 + 255}, "all labels are ignored"),
    ],
)
def test_outputs_and_labels_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    network, x, y, output, ignored, _ = case("segmentation")
    labels = changes.pop("labels", lambda y: y)(y)
    keywords = {"output": output, "ignore_index": ignored, **changes}
    with pytest.raises(AdrlGymError, match=message):
        gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=[(x, labels)], **keywords)


def test_finetuning_at_positions_is_refused() -> None:
    network, x, y, output, _, _ = case("tokens")
    images = ImageSet(x, y)
    problem = QuantProblem(with_output(network, output), Splits(images, None, "made"), budget=0.3, bits=BITS)
    with pytest.raises(AdrlGymError, match=r"predicts at every position, .*: take adrl-gym refit"):
        finetune(problem.network, problem.quantized([3] * len(problem.layers)), train=images, search=images)


def test_onnx_of_a_picked_output(tmp_path: Path) -> None:
    network, x, y, output, _, _ = case("segmentation")
    images = ImageSet(x, torch.where(y == 255, -100, y))
    problem = QuantProblem(with_output(network, output), Splits(images, None, "made"), budget=0.3, bits=BITS)
    save_onnx(tmp_path / "network.onnx", problem.quantized([4, 8]), x)


FILE = """
from branches import make as plain

def make():
    network = plain()
    network.pretrained_cfg = network.pretrained_cfg
    forward = type(network).forward
    network.__class__ = type("Pair", (type(network),), {"forward": lambda self, x: {"y": forward(self, x), "x": x}})
    return network
"""


@pytest.mark.usefixtures("scripts", "no_pictures")
def test_the_command_line_picks_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    data = make_pictures(tmp_path / "images", 3, 6)
    own = ["--network", f"{tmp_path / 'mine.py'}:make", "--data-root", str(data)]
    quick = ["--method", "uniform", "--quantizer", "linear", "--images", "8", "--budget", "0.15"]
    assert run_command("search", [*own, *quick, "--output", str(tmp_path / "run")]) == 2
    assert "Pair returns a dict with 'y', 'x' for one image: say which part" in capsys.readouterr().err
    assert run_command("search", [*own, *quick, "--logits", "y", "--output", str(tmp_path / "run")]) == 0
    assert run_command("refit", [str(tmp_path / "run"), "--data-root", str(data)]) == 0
    assert run_command("export", [str(tmp_path / "run"), "--data-root", str(data), "--format", "packed"]) == 0
