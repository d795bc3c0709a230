"""Named networks: the registry and the architectures."""

import pytest
import torch
from torch import nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.cifarnet import LocalResponseNorm
from adrl_gym.models.named import NETWORKS, load_network
from adrl_gym.models.resnet import resnet20


def test_registry() -> None:
    assert list(NETWORKS) == ["resnet20", "cifarnet", "alexnet", "resnet50"]
    with pytest.raises(AdrlGymError, match="unknown network 'vgg': choose one of resnet20, cifarnet"):
        load_network("vgg")


def test_resnet20_starts_its_stages_with_a_smaller_map() -> None:
    network = resnet20().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722  # He et al.: 0.27 M
    assert network.layer3(network.layer2(torch.zeros(2, 16, 32, 32))).shape == (2, 64, 8, 8)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_local_response_norm_is_pytorchs() -> None:
    x = torch.randn(2, 12, 5, 5) * 10
    expected = nn.LocalResponseNorm(9, alpha=0.001)(x)
    assert torch.allclose(LocalResponseNorm(12)(x), expected, rtol=1e-5)
