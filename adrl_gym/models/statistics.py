"""Statistics of layers' outputs by channel: what batch norms keep, for networks that have none."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def collect_statistics(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Mean and variance of every ``Conv2d``'s and ``Linear``'s output over images and positions.

    Args:
        network: in evaluation mode.
        batches: images ``(B, C, H, W)``.

    Returns:
        ``LAYER.mean`` and ``LAYER.var`` for every layer, float32 ``(O,)``.
    """
    sums: dict[str, tuple[int, Tensor, Tensor]] = {}  # layer -> outputs, their sum (O,), their squares' sum (O,)

    def add(name: str, y: Tensor) -> None:
        y = y.transpose(0, 1).flatten(1).double()  # (O, B * H * W)
        count, total, squares = sums.get(name, (0, torch.zeros(len(y)), torch.zeros(len(y))))
        sums[name] = count + y.shape[1], total + y.sum(1), squares + y.square().sum(1)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, y, name=name: add(name, y))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            for images in batches:
                network(images)
    finally:
        for handle in handles:
            handle.remove()
    statistics: dict[str, Tensor] = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count  # (O,)
        statistics[f"{name}.mean"] = mean.float()
        statistics[f"{name}.var"] = (squares / count - mean.square()).float()
    return statistics
