"""Small CIFAR-10 networks to learn from: plain, residual, depthwise, grouped, dense; 8 to 40 quantizable layers.

Each begins with a convolution of stride 2, so that an epoch takes seconds on one core. ResNet20, CifarNet and
EfficientNet-Lite1 are never among them: policies are judged on those. The number in a name counts its quantizable
layers; ``FILE.py:NAME`` names a network on a command line.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def conv_norm(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution without bias that keeps the size (over ``stride``), and batch norm."""
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return [conv, nn.BatchNorm2d(after)]


class Residual(nn.Module):
    """Layers with a shortcut around them: the identity, or a 1x1 convolution where the shape changes."""

    def __init__(self, body: Sequence[nn.Module], before: int, after: int, stride: int = 1, last: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(before, after, 1, stride))
        self.last = nn.ReLU() if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, before, H, W)`` to ``(B, after, H / stride, W / stride)``."""
        return self.last(self.body(x) + self.shortcut(x))  # (B, after, H / s, W / s)


class Appending(nn.Module):
    """A convolution whose output is appended to its input (DenseNet)."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_norm(before, growth), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, before, H, W)`` to ``(B, before + growth, H, W)``."""
        return torch.cat([x, self.body(x)], 1)  # (B, before + growth, H, W)


def classifier(body: Sequence[nn.Module], channels: int) -> nn.Sequential:
    """Return a network of images ``(B, 3, 32, 32)``: a body, the mean over positions, and a linear layer."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _plain(widths: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    body: list[nn.Module] = []
    for before, after, stride in zip((3, *widths), widths, strides, strict=False):
        body += [*conv_norm(before, after, 3, stride), nn.ReLU()]
    return classifier(body, widths[-1])


def _staged(block: Callable[[int, int, int], nn.Module], widths: Sequence[int], blocks: int) -> nn.Sequential:
    """Return stages of blocks, each stage of half the size of the one before."""
    body: list[nn.Module] = [*conv_norm(3, widths[0], 3, 2), nn.ReLU()]
    before = widths[0]
    for stage, after in enumerate(widths):
        for index in range(blocks):
            body.append(block(before, after, 2 if stage > 0 and index == 0 else 1))
            before = after
    return classifier(body, before)


def _basic(before: int, after: int, stride: int) -> nn.Module:
    body = [*conv_norm(before, after, 3, stride), nn.ReLU(), *conv_norm(after, after)]
    return Residual(body, before, after, stride)


def _bottleneck(before: int, after: int, stride: int, groups: int = 1) -> nn.Module:
    inner = after // 2
    body = [
        *(*conv_norm(before, inner, 1), nn.ReLU()),
        *(*conv_norm(inner, inner, 3, stride, groups), nn.ReLU()),
        *conv_norm(inner, after, 1),
    ]
    return Residual(body, before, after, stride)


def _grouped(before: int, after: int, stride: int) -> nn.Module:
    return _bottleneck(before, after, stride, groups=4)


def _separable(before: int, after: int, stride: int) -> nn.Module:
    depthwise = conv_norm(before, before, 3, stride, groups=before)
    return nn.Sequential(*depthwise, nn.ReLU(), *conv_norm(before, after, 1), nn.ReLU())


def _inverted(before: int, after: int, stride: int) -> nn.Module:
    inner = 3 * before
    body = [
        *(*conv_norm(before, inner, 1), nn.ReLU6()),
        *(*conv_norm(inner, inner, 3, stride, groups=inner), nn.ReLU6()),
        *conv_norm(inner, after, 1),
    ]
    return Residual(body, before, after, stride, last=False)


def plain8() -> nn.Module:
    """Seven convolutions in a row, and a linear layer."""
    return _plain((24, 24, 48, 48, 64, 64, 96), (2, 1, 2, 1, 2, 1, 1))


def plain14() -> nn.Module:
    """Thirteen narrow convolutions in a row, and a linear layer."""
    return _plain((16, *[16] * 4, *[32] * 4, *[64] * 4), (2, 1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1))


def wide8() -> nn.Module:
    """Seven wide convolutions in a row, and a linear layer."""
    return _plain((32, 48, 64, 64, 96, 96, 128), (2, 2, 1, 1, 2, 1, 1))


def vgg10() -> nn.Module:
    """Seven convolutions with biases and without batch norm, then three linear layers."""
    widths, body, before = (24, 24, 48, 48, 64, 64, 64), [], 3
    for index, after in enumerate(widths):
        conv = nn.Conv2d(before, after, 3, padding=1, stride=2 if index in (0, 2, 4) else 1)
        nn.init.kaiming_normal_(conv.weight)
        body += [conv, nn.ReLU()]
        before = after
    head = [nn.Flatten(), nn.Linear(1024, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*body, *head)


def resnet10() -> nn.Module:
    """Three residual blocks of wide convolutions."""
    return _staged(_basic, (24, 48, 96), 1)


def resnet16() -> nn.Module:
    """Six residual blocks."""
    return _staged(_basic, (16, 32, 64), 2)


def resnet28() -> nn.Module:
    """Twelve narrow residual blocks."""
    return _staged(_basic, (12, 24, 48), 4)


def resnet40() -> nn.Module:
    """Eighteen very narrow residual blocks."""
    return _staged(_basic, (8, 16, 32), 6)


def bottleneck22() -> nn.Module:
    """Six residual blocks with bottlenecks."""
    return _staged(_bottleneck, (32, 64, 96), 2)


def resnext22() -> nn.Module:
    """Six residual blocks with bottlenecks of four groups."""
    return _staged(_grouped, (32, 64, 128), 2)


def separable14() -> nn.Module:
    """Six depthwise separable convolutions (MobileNet)."""
    return _staged(_separable, (24, 48, 96), 2)


def separable20() -> nn.Module:
    """Nine depthwise separable convolutions (MobileNet)."""
    return _staged(_separable, (24, 40, 64), 3)


def inverted22() -> nn.Module:
    """Six inverted residual blocks (MobileNetV2)."""
    return _staged(_inverted, (16, 24, 40), 2)


def dense16() -> nn.Module:
    """Twelve convolutions that see all before them (DenseNet), in three stages."""
    body: list[nn.Module] = [*conv_norm(3, 16, 3, 2), nn.ReLU()]
    channels = 16
    for stage in range(3):
        for _ in range(4):
            body.append(Appending(channels, 12))
            channels += 12
        if stage < 2:
            body += [*conv_norm(channels, channels // 2, 1), nn.ReLU(), nn.AvgPool2d(2)]
            channels //= 2
    return classifier(body, channels)


#: Name -> network with random weights.
FAMILY: dict[str, Callable[[], nn.Module]] = {
    make.__name__: make
    for make in (
        *(plain8, plain14, wide8, vgg10, resnet10, resnet16, resnet28, resnet40),
        *(bottleneck22, resnext22, separable14, separable20, inverted22, dense16),
    )
}

#: Networks of the family that policies do not learn from, to judge them on.
UNSEEN = ("resnet28", "inverted22", "plain14")
