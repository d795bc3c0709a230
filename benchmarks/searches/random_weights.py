"""AlexNet and ResNet50 of torchvision at full size with random weights: as much work as trained ones, no accuracy."""

import torch
import torchvision
from torch import nn


def random_alexnet() -> nn.Module:
    """Return AlexNet for images ``(N, 3, 224, 224)``."""
    return _network("alexnet")


def random_resnet50() -> nn.Module:
    """Return ResNet50 for images ``(N, 3, 224, 224)``."""
    return _network("resnet50")


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    network.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (3, 224, 224),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    }
    return network
