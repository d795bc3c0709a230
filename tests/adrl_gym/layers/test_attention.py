"""``nn.MultiheadAttention`` as Linear layers: the same outputs, and quantized."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.evaluation.reference import ReferenceEvaluator
from adrl_gym.export import load_packed, save_packed
from adrl_gym.layers import LinearAttention, find_layers, with_linear_attention
from adrl_gym.problem import QuantProblem


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [None, "numbers", "flags", "each head"])
@pytest.mark.parametrize("weights", [True, False])
def test_outputs_are_those_of_multihead_attention(batch_first: bool, bias: bool, masked: Any, weights: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first).eval()
    linear = LinearAttention(attention)
    q, k = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 4:] = True
    mask = {
        None: None,
        "numbers": torch.randn(5, 7),
        "flags": torch.rand(5, 7) < 0.3,
        "each head": torch.randn(6, 5, 7),
    }[masked]
    keywords: dict[str, Any] = {"need_weights": weights, "attn_mask": mask}
    if masked in (None, "each head"):
        keywords["key_padding_mask"] = padding if mask is None else padding * -1e4
    inputs = [x if batch_first else x.transpose(0, 1) for x in (q, k, k)]
    with torch.inference_mode():
        expected, shares = attention(*inputs, **keywords)
        found, own_shares = linear(*inputs, **keywords)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (own_shares is None) == (shares is None)
    if shares is not None:
        assert torch.allclose(own_shares, shares, atol=1e-6)


def test_sequences_without_a_batch_are_taken() -> None:
    attention = nn.MultiheadAttention(8, 2).eval()
    x = torch.randn(5, 8)
    with torch.inference_mode():
        expected, found = attention(x, x, x)[0], LinearAttention(attention)(x, x, x)[0]
    assert found.shape == (5, 8)
    assert torch.allclose(found, expected, atol=1e-5)


class Encoder(nn.Module):
    """Encoder layers of torch.nn, whose fast path runs no module at all."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)
        self.positions = 1 if batch_first else 0  # axis of the tokens

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).movedim(2, 0)  # (T, B, 8)
        tokens = tokens.movedim(0, self.positions)  # (B, T, 8) or (T, B, 8)
        return self.head(self.encoder(tokens).mean(self.positions))


def vision_transformer() -> nn.Module:
    network = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)  # torchvision begins with zeros
    return network


@pytest.mark.parametrize("make", [Encoder, lambda: Encoder(batch_first=False), vision_transformer])
def test_transformers_are_quantized_whole(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = make().eval(), torch.randn(24, 3, 16, 16)
    with torch.inference_mode():
        logits = network(x)
    problem = QuantProblem(network, Splits(ImageSet(x, logits.argmax(1)), None, "made", "made"), budget=0.25)
    assert "proj" not in str(problem.unquantized)  # a class token and embeddings of positions are bare parameters
    assert problem.float_search.accuracy == 100
    names = [layer.name for layer in problem.layers]
    assert sum(name.endswith(".in_proj") for name in names) == 2
    assert sum(name.endswith(".out_proj") for name in names) == 2
    assert not any(isinstance(module, LinearAttention) for module in network.modules())
    bits = tuple(2 + index % 3 for index in range(len(names)))
    expected = ReferenceEvaluator(problem.network, problem.layers, problem._params).logits(problem.splits.search, bits)
    quantized = problem.quantized(bits)
    assert torch.allclose(quantized(x), expected, atol=1e-4)
    agreement = float((expected.argmax(1) == logits.argmax(1)).float().mean())
    assert problem.evaluate(bits).agreement == pytest.approx(100 * agreement)
    for found in (quantized, problem.quantized(bits, "sequential")):
        save_packed(tmp_path / "file", found)
        with torch.inference_mode():
            assert torch.equal(load_packed(tmp_path / "file", make())(x), found(x))


def test_attention_that_computes_otherwise_stays() -> None:
    hooked = nn.MultiheadAttention(8, 2)
    hooked.register_forward_hook(lambda *_: None)
    for other in (
        nn.MultiheadAttention(8, 2, kdim=4, vdim=4),
        nn.MultiheadAttention(8, 2, add_bias_kv=True),
        nn.MultiheadAttention(8, 2, add_zero_attn=True),
        hooked,
    ):
        network = nn.Sequential(other)
        assert with_linear_attention(network) is network


class Attended(nn.Module):
    """Embedding, attention, and a head."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **keywords)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)  # (B, T, 8)
        return self.head(self.attention(x, x, x)[0].mean(1))  # (B, 3)


class Bag(nn.Module):
    """Mean of embeddings of tokens, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(20, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.words(tokens))  # (B, 3)


class Recurrent(nn.Module):
    """LSTM and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0].mean(1))  # (B, 3)


@pytest.mark.parametrize(
    ("make", "names", "count"),
    [
        (lambda: Attended(add_bias_kv=True), "attention.in_proj_weight, attention.out_proj.weight", 4 * 64 + 16),
        (lambda: Attended(add_zero_attn=True), "attention.in_proj_weight, attention.out_proj.weight", 4 * 64),
        (Bag, "words.weight", 160),
        (Recurrent, "lstm.weight_hh_l0, lstm.weight_ih_l0", 32 * 14),
    ],
)
def test_what_stays_float_is_said(make: Any, names: str, count: int) -> None:
    network = make().eval()
    x = torch.randint(20, (12, 5)) if isinstance(network, Bag) else torch.randn(12, 5, 6)
    problem = QuantProblem(network, Splits(ImageSet(x, torch.arange(12) % 3), None, "made", "made"), budget=0.25)
    note = str(problem.unquantized)
    assert note.startswith(f"{count} of ")
    assert f"stay float and count in no size, as no quantizable module runs with them: {names}" in note
    bits = [4] * len(problem.layers)
    assert problem.measure(problem.quantized(bits)).kl == pytest.approx(problem.evaluate(bits).kl, rel=1e-3, abs=1e-7)


def test_attention_that_is_used_twice_stays_one() -> None:
    attention = nn.MultiheadAttention(8, 2)
    network = with_linear_attention(nn.ModuleList([attention, attention]))
    assert network.get_submodule("0") is network.get_submodule("1")
    assert isinstance(network.get_submodule("0"), LinearAttention)
    assert with_linear_attention(nn.Conv2d(3, 3, 3)) is not None
    assert find_layers(nn.Sequential(nn.Conv2d(3, 3, 3)), (3, 8, 8))[0].name == "0"
