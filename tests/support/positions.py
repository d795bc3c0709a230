"""Networks that predict at every position, and what they are to be measured by."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym.outputs import Output, by_position

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
