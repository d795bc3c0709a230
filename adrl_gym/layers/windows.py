"""Torchvision's window attention (Swin) as layers: the same outputs, with its ``Linear`` modules run as modules."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HOME = "torchvision.models.swin_transformer"
_NAMES = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")


class WindowAttention(nn.Module):
    """Forward pass of a window attention whose projections ``qkv`` and ``proj`` run as modules.

    Torchvision computes with the weights of these two modules and never runs them, so no layer can be found in it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, H, W, C)`` for the same; see ``torchvision.models.swin_transformer``."""
        own: Any = self
        (height, width), heads = own.window_size, own.num_heads
        batch, rows, columns, channels = x.shape
        x = F.pad(x, (0, 0, 0, -columns % width, 0, -rows % height))  # (B, H', W', C)
        down, right = x.shape[1] // height, x.shape[2] // width  # windows
        # Where one window covers all, there is nothing to shift.
        shift = [s if count > 1 else 0 for s, count in zip(own.shift_size, (down, right), strict=True)]
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        x = x.view(batch, down, height, right, width, channels).transpose(2, 3)
        x = x.reshape(-1, height * width, channels)  # (B windows, P, C)
        q, k, v = self._projected(x).reshape(*x.shape[:2], 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
        scores = self._scores(q, k) + own.get_relative_position_bias()  # (B windows, heads, P, P)
        if any(shift):
            mask = _mask((down * height, right * width), (height, width), shift, x)  # (windows, P, P)
            scores = (scores.view(batch, -1, *scores.shape[1:]) + mask[:, None]).view(scores.shape)
        shares = F.dropout(scores.softmax(-1), own.attention_dropout, self.training)
        x = own.proj((shares @ v).transpose(1, 2).reshape(x.shape))  # (B windows, P, C)
        x = F.dropout(x, own.dropout, self.training)
        x = x.view(batch, down, right, height, width, channels).transpose(2, 3)
        x = x.reshape(batch, down * height, right * width, channels)
        if any(shift):
            x = torch.roll(x, tuple(shift), (1, 2))
        return x[:, :rows, :columns].contiguous()

    def _projected(self, x: Tensor) -> Tensor:
        """Return queries, keys and values, ``(B, P, 3 C)``; cosine attention has no bias of keys."""
        own: Any = self
        projected: Tensor = own.qkv(x)
        if hasattr(self, "logit_scale") and own.qkv.bias is not None:
            size = x.shape[-1]
            bias = torch.zeros_like(own.qkv.bias)
            bias[size : 2 * size] = own.qkv.bias[size : 2 * size]
            projected = projected - bias
        return projected

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        if not hasattr(self, "logit_scale"):
            return (q * q.shape[-1] ** -0.5) @ k.mT
        scale: Any = self.logit_scale
        return F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * torch.clamp(scale, max=math.log(100.0)).exp()


def is_window_attention(module: nn.Module) -> bool:
    """Return ``True`` for an attention of torchvision's Swin that ``run_as_layers`` can change."""
    kind = type(module)
    hooks = [
        hook
        for part in module.children()
        for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    ]
    return kind.__module__ == _HOME and kind.__name__ in _NAMES and "forward" not in vars(module) and not hooks


def run_as_layers(module: nn.Module) -> None:
    """Let a window attention run its projections as modules, in place; names and weights stay."""
    kind = type(module)
    module.__class__ = type(kind.__name__, (WindowAttention, kind), {})


def _mask(size: tuple[int, int], window: tuple[int, int], shift: list[int], like: Tensor) -> Tensor:
    """Return what hides pixels of other parts of the picture in a shifted window, ``(windows, P, P)``."""
    parts = like.new_zeros(size)  # (H', W')
    edges = [((0, -w), (-w, -s), (-s, None)) for w, s in zip(window, shift, strict=True)]
    for index, (rows, columns) in enumerate((r, c) for r in edges[0] for c in edges[1]):
        parts[slice(*rows), slice(*columns)] = index
    (down, right), (height, width) = (size[0] // window[0], size[1] // window[1]), window
    parts = parts.view(down, height, right, width).transpose(1, 2).reshape(-1, height * width)  # (windows, P)
    return torch.where(parts[:, None] == parts[:, :, None], 0.0, -100.0).to(like.dtype)
