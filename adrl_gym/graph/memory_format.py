"""The memory layout that a network runs in."""

import copy
import itertools

import torch
from torch import Tensor, nn

from adrl_gym.layers import float_inputs

SAME = 1e-3  # of the largest logit: the most that rounding explains


def alike(logits: Tensor, others: Tensor) -> bool:
    """Return whether logits ``(B, K)`` differ from the expected ``others`` by no more than rounding does."""
    if not others.isfinite().all():
        return True  # nothing can be compared; what is wrong with images or weights is said elsewhere
    return float((logits - others).abs().max()) <= SAME * float(others.abs().max())


def fast_layout(network: nn.Module, images: Tensor) -> torch.memory_format:
    """Channels last, which is faster, where the network gives the same logits in it; else contiguous.

    What is a view of an activation and what a copy may depend on the layout, and ``view`` may fail in it. Inputs of
    layers are left float for that: where they are quantized, logits differ by more than rounding.

    Args:
        network: in evaluation mode; left alone.
        images: a few, ``(B, ...)``, on the network's device.
    """
    with torch.inference_mode(), float_inputs(network):
        expected = network(images.clone(memory_format=torch.contiguous_format))  # (B, K)
        other = to_layout(copy.deepcopy(network), torch.channels_last)
        try:
            same = alike(other(placed(images.clone(), torch.channels_last)), expected)
        except RuntimeError:
            same = False
    return torch.channels_last if same else torch.contiguous_format


def to_layout(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Put the network's parameters and buffers of four dimensions into a layout, in place; return the network.

    ``nn.Module.to`` asks the same of those with five dimensions, which have no such layout.
    """
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=layout)
    return network


def placed(images: Tensor, layout: torch.memory_format) -> Tensor:
    """Images ``(B, C, H, W)`` in a layout; of other shapes as they are.

    With one channel both layouts are the same memory, and only the strides tell a convolution which kernels to take:
    ``contiguous`` would leave them alone, ``to`` sets them, as it does for a module.
    """
    return images.to(memory_format=layout) if images.dim() == 4 else images
