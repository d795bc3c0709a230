"""Sums over the patches of a convolution's input, and over their products.

A patch is what one output position sees: ``J = (I / G) kH kW`` values, padding included. All patches together
take ``kH kW`` times the memory of the image, and their products ``J^2`` multiplications for each of them.

So only columns are unfolded here, and the image's rows stay where they are: the products of kernel rows
``a`` and ``b`` are one matrix product of image rows with image rows. For kernel rows ``a + 1`` and
``b + 1`` nearly the same image rows meet, so their sum is the one before, without the rows that leave and
with those that enter. For a 3x3 convolution that is a third of the multiplications, for a 5x5 one a fifth.
"""

from math import gcd, prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from adrl_gym.layers import Convolution


def patch_sums(module: nn.Conv2d, x: Tensor, *, products: bool = True) -> tuple[Tensor | None, Tensor, int]:
    """Sums over all patches of an input.

    Args:
        module: the convolution, whose stride, dilation, groups and padding of any kind count.
        x: ``(B, I, H, W)``, its input.
        products: whether to sum products too, which is nearly all of the work.

    Returns:
        The sum of ``patch patch'`` in each group, ``(G, J, J)``, or ``None``; the sum of the patches, ``(G, J)``;
        their number. ``J`` is in the order of the module's weight.
    """
    height, stride, dilation = module.kernel_size[0], module.stride[0], module.dilation[0]
    columns = _unfold_columns(module, _padded(module, x))  # (G, I/G, kW, H, B W_out)
    out = (columns.shape[3] - dilation * (height - 1) - 1) // stride + 1  # H_out
    row_sums = columns.sum(4)  # (G, I/G, kW, H)
    sums = [row_sums[..., _under(module, a, 0, out)].sum(3) for a in range(height)]  # (G, I/G, kW) each
    first = torch.stack(sums, dim=2).flatten(1)  # (G, J)
    return _products(module, columns, out) if products else None, first, out * columns.shape[4]


def _products(module: nn.Conv2d, columns: Tensor, out: int) -> Tensor:
    """``(G, J, J)``, from columns ``(G, I/G, kW, H, B W_out)`` and the number of output rows."""
    (height, width), stride, dilation = module.kernel_size, module.stride[0], module.dilation[0]
    groups, channels = columns.shape[:2]

    def met(row: int, start: int, count: int) -> Tensor:
        """Return the values that a kernel row meets: ``(G, I/G kW, count B W_out)``."""
        return columns[:, :, :, _under(module, row, start, count)].flatten(3).flatten(1, 2)

    def products(a: int, b: int, start: int, count: int) -> Tensor:
        """Return the summed products of what kernel rows ``a`` and ``b`` meet: ``(G, I/G kW, I/G kW)``."""
        one = met(a, start, count)
        return one @ (one if a == b else met(b, start, count)).mT

    # Kernel rows that are ``period`` apart see the same image rows, at output rows that are ``moved`` apart.
    period = stride // gcd(stride, dilation)
    moved = period * dilation // stride
    blocks: dict[tuple[int, int], Tensor] = {}
    second = columns.new_empty(groups, channels, height, width, channels, height, width)
    for a in range(height):
        for b in range(a, height):
            before = a - period, b - period
            if before in blocks and moved < out:
                block = blocks[before] - products(*before, 0, moved) + products(*before, out, moved)
            else:
                block = products(a, b, 0, out)
            blocks[a, b] = block
            block = block.reshape(groups, channels, width, channels, width)
            second[:, :, a, :, :, b] = block
            second[:, :, b, :, :, a] = block.permute(0, 3, 4, 1, 2)
    inputs = channels * height * width
    return second.reshape(groups, inputs, inputs)


def _under(module: nn.Conv2d, a: int, start: int, count: int) -> slice:
    """Image rows that kernel row ``a`` meets at ``count`` output rows from ``start``."""
    stride, dilation = module.stride[0], module.dilation[0]
    top = a * dilation + start * stride
    return slice(top, top + (count - 1) * stride + 1, stride)


def patches_at(module: nn.Conv2d, x: Tensor, positions: Tensor) -> Tensor:
    """Some patches of an input, without unfolding the others.

    Args:
        module: as for ``patch_sums``.
        x: ``(B, I, H, W)``, its input.
        positions: ``(P,)``, int64, indices into the output positions ``(B, H_out, W_out)``.

    Returns:
        ``(P, G, J)``, ``J`` in the order of the module's weight.
    """
    (height, width), (down, right), (below, beside) = module.kernel_size, module.stride, module.dilation
    rows_out, columns_out = output_size(module, x)
    image = positions // (rows_out * columns_out)  # (P,)
    top = positions // columns_out % rows_out * down  # (P,)
    left = positions % columns_out * right  # (P,)
    rows = top[:, None] + below * torch.arange(height, device=x.device)  # (P, kH)
    columns = left[:, None] + beside * torch.arange(width, device=x.device)  # (P, kW)
    x = _padded(module, x)
    found = x[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (P, kH, kW, I)
    return found.permute(0, 3, 1, 2).reshape(len(positions), module.groups, -1)


def output_size(module: nn.Conv2d, x: Tensor) -> tuple[int, int]:
    """``(H_out, W_out)`` for an input ``(B, I, H, W)``."""
    left, right, top, bottom = _padding(module)
    sides = (x.shape[2] + top + bottom, x.shape[3] + left + right)
    geometry = zip(sides, module.kernel_size, module.stride, module.dilation, strict=True)
    height, width = ((side - dilation * (kernel - 1) - 1) // stride + 1 for side, kernel, stride, dilation in geometry)
    return height, width


def _padded(module: Convolution, x: Tensor) -> Tensor:
    """``x`` ``(B, I, ...)`` with the convolution's padding around it."""
    return pad(x, _padding(module), mode="constant" if module.padding_mode == "zeros" else module.padding_mode)


def _padding(module: Convolution) -> list[int]:
    """Return the argument of ``pad``: before and after, for the last axis first."""
    sides: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if module.padding == "valid" else 2 * [int(module.padding[axis])]
    return sides


def _unfold_columns(module: nn.Conv2d, x: Tensor) -> Tensor:
    """A padded ``(B, I, H, W)`` as each kernel column sees it: ``(G, I/G, kW, H, B W_out)``, contiguous."""
    width, stride, dilation = module.kernel_size[1], module.stride[1], module.dilation[1]
    out = (x.shape[3] - dilation * (width - 1) - 1) // stride + 1  # W_out
    x = x.permute(1, 2, 0, 3)  # (I, H, B, W)
    columns = torch.stack([x[..., d * dilation :: stride][..., :out] for d in range(width)], dim=1)
    return columns.reshape(module.groups, -1, width, x.shape[1], x.shape[2] * out)


def patch_view(module: Convolution, x: Tensor) -> Tensor:
    """Return what each output position sees.

    Args:
        module: the convolution, whose stride, dilation and padding of any kind count.
        x: ``(B, I, ...)``, its input.

    Returns:
        ``(B, I, out..., k...)``: output positions, then the places of the kernel.
    """
    x = _padded(module, x)
    for axis, (kernel, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True)
    ):
        x = x.unfold(2 + axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    return x


def patch_rows(module: Convolution, x: Tensor) -> Tensor:
    """Return all patches of ``x`` ``(B, I, ...)`` as ``(G, B out, J)``, ``J`` in the order of the module's weight."""
    patches = patch_view(module, x)  # (B, I, out..., k...)
    sides = len(module.kernel_size)
    patches = patches.flatten(2, 1 + sides).flatten(3).transpose(1, 2)  # (B, out, I, k)
    return patches.reshape(-1, module.groups, patches[0, 0].numel() // module.groups).transpose(0, 1)


def positions_of(module: Convolution, x: Tensor) -> tuple[int, ...]:
    """Return how many output positions there are for ``x``, along each axis."""
    return tuple(patch_view(module, x[:1]).shape[2 : 2 + len(module.kernel_size)])


def chosen_patches(module: Convolution, x: Tensor, positions: Tensor) -> Tensor:
    """Return the patches ``(P, G, J)`` at ``positions`` ``(P,)``, indices into ``(B, out...)``."""
    patches = patch_view(module, x)  # (B, I, out..., k...)
    sides = len(module.kernel_size)
    shape = (len(x), *patches.shape[2 : 2 + sides])
    where = torch.unravel_index(positions, shape)
    found = patches.movedim(1, 1 + sides)[where]  # (P, I, k...)
    return found.reshape(len(positions), module.groups, prod(found.shape[1:]) // module.groups)
