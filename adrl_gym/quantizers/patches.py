"""Sums over the patches of a convolution's input, and over their products.

A patch is what an output position sees: ``J = (I / G) kH kW`` values, padding included. All patches together
would take ``kH kW`` times the memory of the image, and their products ``J^2`` multiplications for each.

So only the columns are unfolded here, the image's rows stay where they are: the block of products between kernel rows
``a`` and ``b`` is one product of image rows with image rows. With kernel rows ``a + 1`` and ``b + 1`` all image rows but
the outermost meet again, so that block is the one before, without the rows that leave and with those that
enter. A 3x3 convolution takes a third of the multiplications that way and a 5x5 one a fifth.
"""

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def patch_sums(module: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Sums over all patches of an input.

    Args:
        module: the convolution; its stride, dilation, groups and padding of any kind are respected.
        x: ``(B, I, H, W)``, its input.

    Returns:
        ``(G, J, J)``: sum of ``patch patch'`` in each group; ``(G, J)``: sum of the patches; how many there are.
        ``J`` is in the order of the module's weight.
    """
    (height, width), (stride, _), (dilation, _) = module.kernel_size, module.stride, module.dilation
    columns = _unfold_columns(module, _pad(module, x))  # (G, I/G, kW, H, B W_out)
    groups, channels, _, image_height, positions = columns.shape
    out = (image_height - dilation * (height - 1) - 1) // stride + 1  # H_out

    def under(a: int, first: int, count: int) -> Tensor:
        """What kernel row ``a`` sees at output rows ``first`` to ``first + count``; ``(G, I/G kW, count B W_out)``."""
        top = a * dilation + first * stride
        return columns[:, :, :, top : top + (count - 1) * stride + 1 : stride].flatten(3).flatten(1, 2)

    def product(a: int, b: int, first: int, count: int) -> Tensor:
        return under(a, first, count) @ under(b, first, count).mT  # (G, I/G kW, I/G kW)

    # Kernel rows ``period`` apart see the same image rows, at output rows ``moved`` apart.
    period = stride // gcd(stride, dilation)
    moved = period * dilation // stride
    second = x.new_empty(groups, channels, height, width, channels, height, width)
    blocks: dict[tuple[int, int], Tensor] = {}
    for a in range(height):
        for b in range(a, height):
            before = a - period, b - period
            if before in blocks and moved < out:
                block = blocks[before] - product(*before, 0, moved) + product(*before, out, moved)
            else:
                block = product(a, b, 0, out)
            blocks[a, b] = block
            block = block.reshape(groups, channels, width, channels, width)
            second[:, :, a, :, :, b] = block
            second[:, :, b, :, :, a] = block.permute(0, 3, 4, 1, 2)
    first = torch.stack([under(a, 0, out).sum(2) for a in range(height)], dim=1)  # (G, kH, I/G kW)
    first = first.reshape(groups, height, channels, width).transpose(1, 2)  # (G, I/G, kH, kW)
    inputs = channels * height * width
    return second.reshape(groups, inputs, inputs), first.reshape(groups, inputs), out * positions


def _pad(module: nn.Conv2d, x: Tensor) -> Tensor:
    """``x`` ``(B, I, H, W)`` with the convolution's padding around it."""
    sides: list[int] = []  # left, right, top, bottom
    for axis in (1, 0):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if module.padding == "valid" else 2 * [int(module.padding[axis])]
    return F.pad(x, sides, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)


def _unfold_columns(module: nn.Conv2d, x: Tensor) -> Tensor:
    """Padded ``(B, I, H, W)`` as each kernel column sees it: ``(G, I/G, kW, H, B W_out)``, contiguous."""
    width, stride, dilation = module.kernel_size[1], module.stride[1], module.dilation[1]
    out = (x.shape[3] - dilation * (width - 1) - 1) // stride + 1  # W_out
    x = x.permute(1, 2, 0, 3)  # (I, H, B, W)
    seen = [x[..., d * dilation :: stride][..., :out] for d in range(width)]
    return torch.stack(seen, dim=1).flatten(3).unflatten(0, (module.groups, -1))
