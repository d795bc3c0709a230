"""One's own network as an environment id: a user's module, searched from the command line.

    python agents/train_adrl.py --env-id tiny_env:Tiny-v0

Set TINY_SECONDS to make every forward pass take that long, for tests that interrupt a search.
"""

import os
import time

import gymnasium as gym
import torch
from torch import Tensor, nn

SECONDS = float(os.environ.get("TINY_SECONDS", "0"))


class Tiny(nn.Module):
    """Four layers on 8x8 images, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(8 * 2 * 2, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(SECONDS)
        x = torch.relu(self.conv1(x))  # (B, 4, 4, 4)
        x = torch.relu(self.conv2(x))  # (B, 8, 2, 2)
        x = torch.relu(self.fc1(x.flatten(1)))  # (B, 16)
        return self.fc2(x)  # (B, 10)


def tiny() -> tuple[Tiny, Tensor, Tensor]:
    """The network, images ``(N, 1, 8, 8)``, and labels ``(N,)``: most of them what the network says."""
    generator = torch.Generator().manual_seed(0)
    network = Tiny().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(parameter[0].numel(), 2) ** 0.5)
        images = torch.randn(60, 1, 8, 8, generator=generator)
        labels = network(images).argmax(1)
    labels[:6] = (labels[:6] + 1) % 10
    return network, images, labels


network, images, labels = tiny()
gym.register(
    "Tiny-v0",
    entry_point="adrl_gym.envs.mixed_precision:MixedPrecisionQuantEnv",
    kwargs={"network": network, "data": [(images, labels)]},
)
