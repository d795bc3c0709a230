"""Convolutions that pad their input themselves as plain ones with that padding: the same outputs, up to rounding.

Networks that were ported from TensorFlow ("SAME" padding: EfficientNet, timm's ``tf_`` models) pad in a ``forward`` of
their own. Nothing else in this package can know what such a layer computes, so its batch norm stays a pass of its own,
and its inputs are seen without their padding. With a stride of 1 the padding is the same on both sides, and a plain
convolution does it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.layers.find import layer_input
from adrl_gym.layers.kinds import is_plain

_TOLERANCE = 1e-5  # of the largest output: what rounding explains


@torch.no_grad()
def with_plain_convolutions(network: nn.Module, image_shape: tuple[int, ...]) -> nn.Module:
    """Return the network with plain convolutions for those that only pad: itself where it has none, else a copy.

    Which do is found by a forward pass of one image of noise. Those of another stride, with hooks, or with outputs that
    no even padding explains stay.

    Args:
        network: in evaluation mode, of float images.
        image_shape: ``(C, H, W)`` of one image.
    """
    suspects = {name: module for name, module in network.named_modules() if _is_suspect(module)}
    if not suspects:
        return network
    paddings: dict[str, set[tuple[int, int] | None]] = {}  # name -> those that explain its outputs; None: nothing does

    def look(name: str) -> Any:
        def seen(module: nn.Conv2d, inputs: tuple[Any, ...], keywords: dict[str, Any], y: Any) -> None:
            paddings.setdefault(name, set()).add(_even_padding(module, layer_input(inputs, keywords), y))

        return seen

    handles = [module.register_forward_hook(look(name), with_kwargs=True) for name, module in suspects.items()]
    parameter = next(network.parameters())
    image = torch.randn(1, *image_shape, generator=torch.Generator().manual_seed(0)).to(parameter)  # (1, C, H, W)
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    found = {name: one for name, (one, *others) in paddings.items() if one is not None and not others}
    if not found:
        return network
    network = copy.deepcopy(network)
    for name, padding in found.items():
        convolution = network.get_submodule(name)
        assert isinstance(convolution, nn.Conv2d)
        convolution.__class__ = nn.Conv2d  # names, weights and whatever else it holds stay
        convolution.padding, convolution.stride = padding, (1, 1)
    return network


def _is_suspect(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and not is_plain(module)
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and isinstance(module.weight, nn.Parameter)
        and tuple(module.stride) == (1, 1)
        and module.padding_mode == "zeros"
    )


def _even_padding(module: nn.Conv2d, x: Tensor, y: Any) -> tuple[int, int] | None:
    """Return the padding, above and below, left and right, that gives the outputs ``y``, if any does."""
    if not isinstance(y, Tensor) or y.dim() != 4 or x.dim() != 4:
        return None
    window = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    added = [out - size + side for out, size, side in zip(y.shape[2:], x.shape[2:], window, strict=True)]
    if any(total < 0 or total % 2 for total in added):
        return None
    padding = added[0] // 2, added[1] // 2
    own = (module.weight, module.bias, (1, 1), padding, module.dilation, module.groups)
    plain = torch.nn.functional.conv2d(x, *own)  # (B, O, H, W)
    scale = float(plain.abs().max())
    return padding if scale > 0 and float((y - plain).abs().max()) <= _TOLERANCE * scale else None
