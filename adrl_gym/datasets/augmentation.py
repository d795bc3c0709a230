"""Random crops and flips (He et al. 2016, "Deep Residual Learning", section 4.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

_MARGIN = 8  # an image is padded by this part of its height and width on each side: 4 pixels of 32


def augment(x: Tensor, generator: torch.Generator, mirror: bool = True) -> Tensor:
    """A random crop of each padded image, of the image's own size, and a random horizontal flip.

    Args:
        x: ``(B, C, H, W)``, normalised, so that the zeros around it are the mean colour. What has no height and width
            comes back as it is.
        generator: of PyTorch on the CPU.
        mirror: whether to flip at all.

    Returns:
        ``(B, C, H, W)``, channels last.
    """
    if x.dim() != 4:
        return x
    height, width = x.shape[2:]
    down, right = height // _MARGIN, width // _MARGIN
    padded = F.pad(x, (right, right, down, down))  # (B, C, H + 2 down, W + 2 right)
    top = torch.randint(0, 2 * down + 1, (len(x), 1), generator=generator)  # (B, 1)
    left = torch.randint(0, 2 * right + 1, (len(x), 1), generator=generator)  # (B, 1)
    rows = top + torch.arange(height)  # (B, H)
    columns = left + torch.arange(width)  # (B, W)
    flip = torch.rand(len(x), 1, generator=generator) < 0.5  # (B, 1)
    columns = torch.where(flip & mirror, columns.flip(1), columns)  # (B, W)
    image = torch.arange(len(x))[:, None, None]  # (B, 1, 1)
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
