"""ResNet20 in its CIFAR form (He et al. 2016, "Deep Residual Learning", section 4.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A of the paper)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        self.padding = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, H, W)`` to ``(B, C_out, H / stride, W / stride)``."""
        y = F.relu(self.bn1(self.conv1(x)))  # (B, C_out, H/s, W/s)
        y = self.bn2(self.conv2(y))  # (B, C_out, H/s, W/s)
        if self.padding:  # option A: subsample, then pad the new channels with zeros on both sides
            half = self.padding // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """``6 n + 2`` layers: a convolution, three stages of ``n`` blocks (16, 32, 64 channels), a linear layer.

    Input ``(B, 3, 32, 32)``, output logits ``(B, classes)``.
    """

    def __init__(self, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(channels_in: int, channels_out: int, blocks: int, stride: int) -> nn.Sequential:
        first = Block(channels_in, channels_out, stride)
        return nn.Sequential(first, *(Block(channels_out, channels_out, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, 3, 32, 32)`` to logits ``(B, classes)``."""
        x = F.relu(self.bn1(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.layer1(x)  # (B, 16, 32, 32)
        x = self.layer2(x)  # (B, 32, 16, 16)
        x = self.layer3(x)  # (B, 64, 8, 8)
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)  # (B, 64)
        return self.fc(x)  # (B, classes)


def resnet20() -> CifarResNet:
    """ResNet20 for CIFAR-10: 19 convolutions and a linear layer, 0.27 million parameters."""
    return CifarResNet(blocks=3)
