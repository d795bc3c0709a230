"""Statistics of layers' outputs."""

import torch

from adrl_gym.models.cifarnet import cifarnet
from adrl_gym.models.statistics import collect_statistics


def test_statistics_are_those_of_the_outputs() -> None:
    network, images = cifarnet().eval(), torch.randn(6, 3, 32, 32)
    statistics = collect_statistics(network, images.split(4))
    assert set(statistics) == {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2", "fc3") for kind in ("mean", "var")
    }
    with torch.no_grad():
        outputs = network.conv1(images)  # (6, 64, 32, 32)
        logits = network(images)  # (6, 10)
    assert torch.allclose(statistics["conv1.mean"], outputs.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(statistics["conv1.var"], outputs.var((0, 2, 3), correction=0), atol=1e-4)
    assert torch.allclose(statistics["fc3.mean"], logits.mean(0), atol=1e-5)
