"""One's own network in a file: named on a command line as ``branches.py:make``."""

import torch
from torch import Tensor, nn

IMAGES = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Branches(nn.Module):
    """Batch norm, a depthwise and a grouped convolution, two branches that share their weights; 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Conv2d(8, 8, 1)
        self.right.weight = self.left.weight
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 3)
        self.pretrained_cfg = IMAGES

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()  # (B, 8, 8, 8)
        x = self.depthwise(x) + x  # (B, 8, 8, 8)
        x = self.left(x) + self.right(x.flip(1))  # (B, 8, 8, 8)
        x = self.grouped(self.grouped(x).relu())  # (B, 8, 8, 8)
        return self.head(x.mean((2, 3)))  # (B, 3)


def _fixed(network: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network()


def make() -> nn.Module:
    """The network with random weights that are the same every time."""
    return _fixed(Branches)


class Depends(nn.Module):
    """Its way depends on the images, so torch.fx and ONNX cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 3)
        self.pretrained_cfg = IMAGES

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu().mean((2, 3))  # (B, 8)
        return self.head(x if x.mean() < 100 else x / 100)  # (B, 3)


class Rare(Depends):
    """It has an operator that ONNX lacks."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).abs().mean((2, 3))  # (B, 8)
        return self.head(torch.special.gammainc(x, x + 1))  # (B, 3)


def depends() -> nn.Module:
    return _fixed(Depends)


def rare() -> nn.Module:
    return _fixed(Rare)


def with_nan() -> nn.Module:
    network = make()
    with torch.no_grad():
        network.get_parameter("depthwise.weight")[0] = torch.nan
    return network


def without_layers() -> nn.Module:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.pretrained_cfg = IMAGES  # type: ignore[assignment]
    return network


def says_nothing() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 16), nn.Flatten())


def without_norm() -> nn.Module:
    network = says_nothing()
    network.pretrained_cfg = IMAGES  # type: ignore[assignment]
    return network


def no_network() -> int:
    return 3


def asks(size: int) -> nn.Module:
    return nn.Conv2d(3, size, 1)
