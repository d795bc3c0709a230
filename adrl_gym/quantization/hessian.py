"""Statistics of every layer's inputs: their mean, and the Hessian of the layer's least-squares problem."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import batches
from adrl_gym.layers import Convolution, LayerSpec, Transposed, layer_input
from adrl_gym.quantization.patches import patch_rows, patch_sums
from adrl_gym.quantization.shortcuts import Gram, few_samples

_HESSIAN_MEMORY = 512 * 2**20  # bytes of Hessians held at a time
_BATCH = 100  # images, at most
_UNFOLDED = 2**24  # values of a convolution's input unfolded at a time


@dataclass(frozen=True)
class InputStatistics:
    """Means over images and positions of the ``J`` values that meet the ``J`` weights of an output channel.

    Attributes:
        hessian: ``(G, J, J)`` float32, ``E[x x']`` in each of ``G`` groups; one group for a linear layer. Up to a
            factor, the Hessian of the squared output error in the weights. A ``Gram`` for a linear layer with far
            fewer images and positions than inputs. ``None`` where it was not asked for.
        mean: ``(G, J)`` float32, ``E[x]``.
    """

    hessian: Tensor | Gram | None
    mean: Tensor

    @property
    def covariance(self) -> Tensor | Gram | None:
        """The Hessian ``(G, J, J)`` where a bias makes up for the means."""
        if isinstance(self.hessian, Gram):
            return self.hessian.centred(self.mean[0])
        return None if self.hessian is None else self.hessian - self.mean[:, :, None] * self.mean[:, None, :]


def collect_inputs(
    network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, *, hessian: bool = True
) -> Iterator[tuple[LayerSpec, InputStatistics]]:
    """Yield the statistics of each layer's inputs, in the order given.

    The network runs once over the images for as many layers as fit in ``_HESSIAN_MEMORY`` (at least one), then
    again for the next ones. A module that is used several times gets the means over all its uses.

    Args:
        network: in evaluation mode; left as it is.
        layers: of this network.
        images: ``(N, ...)``, at least one; moved to the network's device batch by batch.
        hessian: whether Hessians are needed; means alone take one pass and little work.

    Raises:
        AdrlGymError: no images, or a layer that takes no part in the forward pass.
    """
    if len(images) == 0:
        raise AdrlGymError("no images to collect the layers' inputs from; give at least one")
    rest = list(layers)
    while rest:
        count, memory = 1, _bytes(rest[0], len(images))
        while count < len(rest) and (not hessian or memory + _bytes(rest[count], len(images)) <= _HESSIAN_MEMORY):
            memory += _bytes(rest[count], len(images))
            count += 1
        sums = _run(network, rest[:count], images, hessian)
        for layer in rest[:count]:
            yield layer, sums.pop(layer.name).statistics()
        rest = rest[count:]


def _bytes(layer: LayerSpec, images: int) -> int:
    """Return the bytes that the layer's Hessian takes, or its samples where they are few."""
    samples = images * layer.macs // layer.parameters
    if layer.kind == "linear" and few_samples(samples, layer.inputs):
        return 4 * samples * layer.inputs
    return 4 * layer.groups * layer.inputs**2


@torch.no_grad()
def _run(network: nn.Module, layers: Sequence[LayerSpec], images: Tensor, hessian: bool) -> dict[str, "_Sums"]:
    """One pass over the images; layer name -> sums."""
    sums = {layer.name: _Sums(layer.name, hessian) for layer in layers}
    handles = [
        network.get_submodule(name).register_forward_pre_hook(s.add, with_kwargs=True) for name, s in sums.items()
    ]
    device = next(network.parameters()).device
    try:
        for batch in batches(images, _BATCH):
            network(batch.to(device, copy=True))  # a network may write into what it is given
    finally:
        for handle in handles:
            handle.remove()
    return sums


class _Sums:
    """Sums over all that a layer took in so far."""

    def __init__(self, name: str, hessian: bool) -> None:
        self._name, self._wants_hessian = name, hessian
        self._count = 0
        self._hessian: Tensor | None = None  # (G, J, J)
        self._sum: Tensor | None = None  # (G, J)
        self._samples: list[Tensor] = []  # (B T, J) each, while they are few

    def add(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Forward pre-hook of the layer's module."""
        x = layer_input(inputs, keywords)
        if isinstance(module, nn.Embedding):
            # Each entry is an output of its own: nothing but its own error counts.
            eye = torch.eye(module.embedding_dim, device=module.weight.device)[None]  # (1, J, J)
            self._add(eye * x.numel() if self._wants_hessian else None, eye[0, :1] * 0, x.numel())
            return
        x = x.float()
        if isinstance(module, nn.Conv2d):
            x = x.reshape(-1, *x.shape[-3:])  # (B, I, H, W)
            at_once = max(1, _UNFOLDED // (x[0].numel() * module.kernel_size[1]))
            for part in x.split(at_once):
                self._add(*patch_sums(module, part, products=self._wants_hessian))
        elif isinstance(module, Convolution):
            x = x.reshape(-1, *x.shape[-1 - len(module.kernel_size) :])  # (B, I, ...)
            for part in x.split(max(1, _UNFOLDED // (x[0].numel() * prod(module.kernel_size)))):
                rows = patch_rows(module, part)  # (G, B out, J)
                self._add(rows.mT @ rows if self._wants_hessian else None, rows.sum(1), rows.shape[1])
        elif isinstance(module, Transposed):
            sides = len(module.kernel_size)
            x = x.reshape(-1, *x.shape[-1 - sides :]).movedim(1, -1).flatten(0, -2)  # (B positions, I)
            self._add(*transposed_sums(module, x, products=self._wants_hessian), len(x))
        else:
            x = x.reshape(-1, x.shape[-1])  # (B T, I)
            self._add(self._products(x) if self._wants_hessian else None, x.sum(0)[None], len(x))

    def _products(self, x: Tensor) -> Tensor | None:
        """Return ``(1, J, J)`` of a linear layer's inputs ``(B T, J)``, or ``None`` while samples are kept instead."""
        if self._hessian is None and few_samples(self._count + len(x), x.shape[1]):
            self._samples.append(x.clone())
            return None
        if self._samples:
            x = torch.cat([*self._samples, x])
            self._samples = []
        return (x.T @ x)[None]

    def _add(self, hessian: Tensor | None, total: Tensor, count: int) -> None:
        self._hessian = hessian if self._hessian is None or hessian is None else self._hessian.add_(hessian)
        self._sum = total if self._sum is None else self._sum.add_(total)
        self._count += count

    def statistics(self) -> InputStatistics:
        """Means of all that was added."""
        if self._sum is None:
            raise AdrlGymError(f"layer {self._name} takes no part in the network's forward pass")
        mean = self._sum / self._count
        if self._samples:
            return InputStatistics(Gram(torch.cat(self._samples) / self._count**0.5), mean)
        return InputStatistics(None if self._hessian is None else self._hessian / self._count, mean)


def transposed_sums(module: Transposed, x: Tensor, *, products: bool = True) -> tuple[Tensor | None, Tensor]:
    """Sums over the inputs ``(P, I)`` of a transposed convolution, as if no two places of its kernel ever met.

    Where the stride is at least the kernel that is exact. The means are left out (zeros): an output meets one place of
    the kernel, so that one bias cannot absorb the means of all of them.

    Returns:
        ``(1, J, J)``, or ``None``, and zeros ``(1, J)``; ``J`` counts input channels, then places.
    """
    places = prod(module.kernel_size)
    zeros = x.new_zeros(1, x.shape[1] * places)  # (1, J)
    if not products:
        return None, zeros
    return torch.kron(x.T @ x, torch.eye(places, device=x.device))[None], zeros
