"""CifarNet: the small network of the CIFAR-10 tutorials, without batch norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """``x / (1 + alpha / size * sum of x^2 over size neighbouring channels)^0.75``.

    Krizhevsky et al. 2012, section 3.3. The same as ``torch.nn.LocalResponseNorm(size, alpha)``, with the
    sums taken by a 1x1 convolution with a band matrix: PyTorch's own three-dimensional pooling would
    take four fifths of this network's time on a CPU.
    """

    band: Tensor

    def __init__(self, channels: int, size: int = 9, alpha: float = 0.001) -> None:
        super().__init__()
        index = torch.arange(channels)
        band = (index[:, None] - index[None, :]).abs() <= size // 2  # (C, C)
        self.register_buffer("band", (alpha / size) * band.float()[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)`` over its channels."""
        scale = 1 + F.conv2d(x.square(), self.band)  # (B, C, H, W)
        return x * torch.rsqrt(scale * scale.sqrt())  # (B, C, H, W)


class CifarNet(nn.Module):
    """Two 5x5 convolutions of 64 channels and three linear layers (384, 192, ``classes``).

    Each convolution is followed by overlapping pooling (3x3, stride 2) and local response normalisation.
    Input ``(B, 3, 32, 32)``, output logits ``(B, classes)``; 1.39 million parameters.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
        self.norm = LocalResponseNorm(64)
        self.fc1 = nn.Linear(64 * 7 * 7, 384)
        self.fc2 = nn.Linear(384, 192)
        self.fc3 = nn.Linear(192, classes)
        self.dropout = nn.Dropout(0.2)
        for module in (self.conv1, self.conv2, self.fc1, self.fc2, self.fc3):
            nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, 3, 32, 32)`` to logits ``(B, classes)``."""
        x = self.norm(F.relu(F.max_pool2d(self.conv1(x), 3, 2)))  # (B, 64, 15, 15)
        x = self.norm(F.relu(F.max_pool2d(self.conv2(x), 3, 2)))  # (B, 64, 7, 7)
        x = torch.flatten(x, 1)  # (B, 3136)
        x = self.dropout(F.relu(self.fc1(x)))  # (B, 384)
        x = self.dropout(F.relu(self.fc2(x)))  # (B, 192)
        return self.fc3(x)  # (B, classes)


def cifarnet() -> CifarNet:
    """CifarNet for CIFAR-10: two convolutions and three linear layers, 1.39 million parameters."""
    return CifarNet()
