"""Families of tiny problems: networks with random weights that are certain of many images."""

import torch
from torch import Tensor, nn

from adrl_gym import QuantProblem
from adrl_gym.datasets import ImageSet, Splits


class Chain(nn.Module):
    """A few convolutions, one after the other, and a linear layer; images ``(B, 3, 8, 8)``, 5 classes."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip((3, *widths), widths, strict=False)
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairs)
        self.head = nn.Linear(widths[-1] * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu()  # (B, C, 8, 8)
        return self.head(nn.functional.avg_pool2d(x, 2).flatten(1))  # (B, 5)


def chain_problem(seed: int, widths: tuple[int, ...] = (4, 8, 6), quantizer: str = "linear") -> QuantProblem:
    """Return a problem of a chain with the random weights of a seed, on 60 random images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Chain(widths).eval()
        images = torch.randn(60, 3, 8, 8)
        with torch.no_grad():
            spread = network(images).std(0)  # (5,)
            network.head.weight *= 3 / spread[:, None]
    splits = Splits(ImageSet(images, None), None, "random images")
    return QuantProblem(network, splits, name=f"chain{seed}", quantizer=quantizer)
