"""First and second moments of what every layer takes in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import LayerSpec, layer_input
from adrl_gym.quantization.patches import patch_sums

MOMENT_MEMORY = 256 * 2**20  # bytes of second moments held at a time
BATCH = 100  # images
_UNFOLDED = 2**24  # values of a convolution's input unfolded at a time


@dataclass(frozen=True)
class Moments:
    """Means over images and positions of the ``J`` values that meet the ``J`` weights of an output channel.

    Attributes:
        second: ``(G, J, J)`` float32, ``E[x x']`` in each of ``G`` groups; one group for a linear layer. ``None``
            where it was not asked for.
        mean: ``(G, J)`` float32, ``E[x]``.
    """

    second: Tensor | None
    mean: Tensor

    @property
    def centred(self) -> Tensor | None:
        """Covariances ``(G, J, J)``: what is left of ``second`` where a bias makes up for the means."""
        return None if self.second is None else self.second - self.mean[:, :, None] * self.mean[:, None, :]


def collect_moments(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, second: bool = True
) -> Iterator[tuple[LayerSpec, Moments]]:
    """The moments of each layer's inputs, one layer after the other in the order given.

    The network runs once over the images for as many layers as fit in ``MOMENT_MEMORY`` (at least one), then
    again for the next ones. A module that is used several times gets the means over all its uses.

    Args:
        network: in evaluation mode; left as it is.
        layers: of this network.
        images: ``(N, ...)``, at least one; moved to the network's device batch by batch.
        second: whether second moments are needed; means alone take one pass and little work.

    Raises:
        AdrlGymError: no images, or a layer that takes no part in the forward pass.
    """
    if len(images) == 0:
        raise AdrlGymError("no images to take the moments of the layers' inputs from; give at least one")
    rest = list(layers)
    while rest:
        count, memory = 1, _bytes(rest[0])
        while count < len(rest) and (not second or memory + _bytes(rest[count]) <= MOMENT_MEMORY):
            memory += _bytes(rest[count])
            count += 1
        sums = _run(network, rest[:count], images, second)
        for layer in rest[:count]:
            yield layer, sums.pop(layer.name).moments()
        rest = rest[count:]


def _bytes(layer: LayerSpec) -> int:
    """Memory that the layer's second moments take."""
    return 4 * layer.groups * prod(layer.weight_shape[1:]) ** 2


@torch.no_grad()
def _run(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, second: bool) -> dict[str, "_Sums"]:
    """One pass over the images; layer name -> sums."""
    sums = {layer.name: _Sums(layer.name, second) for layer in layers}
    handles = [
        network.get_submodule(name).register_forward_pre_hook(s.add, with_kwargs=True) for name, s in sums.items()
    ]
    device = next(network.parameters()).device
    try:
        for batch in images.split(BATCH):
            network(batch.to(device, copy=True))  # a network may write into what it is given
    finally:
        for handle in handles:
            handle.remove()
    return sums


class _Sums:
    """Sums over all that a layer took in so far."""

    def __init__(self, name: str, products: bool) -> None:
        self._name, self._products = name, products
        self._count = 0
        self._second: Tensor | None = None  # (G, J, J)
        self._first: Tensor | None = None  # (G, J)

    def add(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Forward pre-hook of the layer's module."""
        x = layer_input(inputs, keywords).float()
        if isinstance(module, nn.Conv2d):
            x = x.reshape(-1, *x.shape[-3:])  # (B, I, H, W)
            at_once = max(1, _UNFOLDED // (x[0].numel() * module.kernel_size[1]))
            for part in x.split(at_once):
                self._add(*patch_sums(module, part, products=self._products))
        else:
            x = x.reshape(-1, x.shape[-1])  # (B T, I)
            self._add((x.T @ x)[None] if self._products else None, x.sum(0)[None], len(x))

    def _add(self, second: Tensor | None, first: Tensor, count: int) -> None:
        self._second = second if self._second is None or second is None else self._second.add_(second)
        self._first = first if self._first is None else self._first.add_(first)
        self._count += count

    def moments(self) -> Moments:
        """Means of all that was added."""
        if self._first is None:
            raise AdrlGymError(f"layer {self._name} takes no part in the network's forward pass")
        return Moments(None if self._second is None else self._second / self._count, self._first / self._count)
