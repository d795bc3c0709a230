"""Networks and images for tests of the fast engine, and its comparison with the reference evaluator."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adrl_gym.datasets.images import ImageSet
from adrl_gym.evaluation.engine import Engine
from adrl_gym.evaluation.reference import ReferenceEvaluator
from adrl_gym.layers import find_layers
from adrl_gym.quantization.layerwise import quantize_layers

CPU = torch.device("cpu")


class Depends(nn.Module):
    """A network that torch.fx cannot trace: its way depends on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (B, 4, 6, 6)
        if x.mean() > 100:
            x = x / 100  # (B, 4, 6, 6)
        return self.fc(x.mean((2, 3)))  # (B, 5)


def trained(network: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> nn.Module:
    """With batch norms that have seen images."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.train()(torch.randn(64, *shape))
    return network.eval()


def images(count: int, shape: tuple[int, ...] = (3, 8, 8)) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    return ImageSet(torch.randn(count, *shape, generator=generator), torch.randint(5, (count,), generator=generator))


def engines(
    network: nn.Module, data: ImageSet, keep: int = 2 << 30, bits: Sequence[int] = range(1, 9)
) -> tuple[Engine, ReferenceEvaluator, int]:
    layers = find_layers(network, tuple(data.images.shape[1:]))
    params = quantize_layers(network, layers, data.images, quantizer="linear", bits=bits, bias_correction=True)
    engine = Engine(network, layers, params, data, [CPU], activation_memory=keep)
    return engine, ReferenceEvaluator(network, layers, params), len(layers)


def same_as_plain(network: nn.Module, cut: bool, shape: tuple[int, ...] = (3, 8, 8)) -> None:
    """Compare logits; ``cut`` says whether the network can be cut. The images stay as they are."""
    search = images(100, shape)
    before = search.images.clone()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine, reference, n = engines(network, search)
    assert [str(w.message) for w in caught if "cannot partition" not in str(w.message)] == []
    assert bool(caught) is not cut
    for bits in ([None] * n, [8] * n, [2] * n):
        expected = reference.logits(search, bits)  # (N, K)
        with torch.inference_mode():
            whole = network(before.clone())  # (N, K)
        if bits[0] is None:
            torch.testing.assert_close(expected, whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(engine.search_logits([bits])[0], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(search.images, before)
