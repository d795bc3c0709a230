"""Networks, images and a finetuning for tests of finetuning."""

from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym import QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.qat.epochs import Finetuned
from adrl_gym.qat.loop import finetune
from adrl_gym.qat.settings import Finetuning
from adrl_gym.quantization.network import QuantizedNetwork

BITS = (4, 2, 1, 3)
SETTINGS = Finetuning(epochs=3, batch_size=32, horizontal_flip=False, precision="float32")


class Normed(nn.Module):
    """Batch norm, dropout and a shared weight; images ``(B, 3, 8, 8)``, 5 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Conv2d(8, 8, 1)
        self.right.weight = self.left.weight
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()  # (B, 8, 4, 4)
        x = self.left(x).relu() + self.right(x.flip(1))  # (B, 8, 4, 4)
        return self.fc(self.dropout(x.flatten(1)))  # (B, 5)


def smooth(count: int, seed: int) -> Tensor:
    """Random images ``(N, 3, 8, 8)`` that shifting by a pixel does not change beyond recognition."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 2, 2, generator=generator)
    return nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=True)


def labelled(network: nn.Module, images: Tensor) -> ImageSet:
    """With what the network says of them."""
    with torch.no_grad():
        return ImageSet(images, network(images.clone()).argmax(1))


def make_problem(network: nn.Module, quantizer: str = "linear") -> QuantProblem:
    """Of a network that is made surer of itself, as trained ones are."""
    last = list(network.children())[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(5)
    splits = Splits(labelled(network, smooth(200, 1)), labelled(network, smooth(100, 2)), "random")
    return QuantProblem(network, splits, quantizer=quantizer, budget=0.5)


def run(problem: QuantProblem, bits: tuple[int, ...] = BITS, **changes: Any) -> Finetuned:
    """A finetuning of the directly quantized network."""
    arguments = {
        "train": labelled(problem.network, smooth(320, 3)),
        "search": problem.splits.search,
        "test": problem.splits.test,
        "settings": SETTINGS,
        **changes,
    }
    return finetune(problem.network, problem.quantized(bits), **arguments)


def same(one: nn.Module | QuantizedNetwork, two: nn.Module | QuantizedNetwork) -> bool:
    states = one.state_dict(), two.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])
