"""Inputs of a layer at sampled positions, and the Hessian of those."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from adrl_gym.layers import Convolution, Quantizable, Transposed, spatial_sides
from adrl_gym.quantization.hessian import transposed_sums
from adrl_gym.quantization.patches import chosen_patches, output_size, patches_at, positions_of


def sampled_inputs(module: Quantizable, x: Tensor, count: int, seed: Any) -> Tensor:
    """Return what meets the weights at ``count`` of the module's output positions (all, if there are fewer).

    Args:
        module: of any kind; an embedding's inputs are no numbers, and come back as a zero.
        x: the module's input.
        count: how many.
        seed: of ``numpy.random.default_rng``; the same one draws the same positions in every network.

    Returns:
        ``(P, G, J)``: positions, groups, and weights of an output channel.
    """
    if isinstance(module, nn.Embedding):
        return torch.zeros(1, 1, 1, device=x.device)
    sides = spatial_sides(module)
    x = x.reshape(-1, *x.shape[-1 - sides :])  # (B, I, ...) or (B T, I)
    if isinstance(module, Transposed):
        x = x.movedim(1, -1).flatten(0, -2)  # (B positions, I)
    positions: tuple[int, ...] = ()
    if isinstance(module, nn.Conv2d):
        positions = output_size(module, x)
    elif isinstance(module, Convolution):
        positions = positions_of(module, x)
    available = len(x) * math.prod(positions)
    draw = np.random.default_rng(seed).permutation(available)[:count]
    chosen = torch.from_numpy(np.sort(draw)).to(x.device)  # (P,)
    if isinstance(module, nn.Conv2d):
        return patches_at(module, x, chosen)  # (P, G, J)
    return chosen_patches(module, x, chosen) if isinstance(module, Convolution) else x[chosen, None]


def hessian_of(module: Quantizable, x: Tensor, inputs: int, *, centred: bool) -> Tensor:
    """Return the Hessian ``(G, J, J)`` of a layer's least-squares problem from its sampled inputs ``(P, G, J)``.

    Args:
        module: of any kind; each entry of an embedding is an output of its own, so that nothing but its error counts.
        x: from ``sampled_inputs``.
        inputs: ``J``.
        centred: whether a bias makes up for the means; ignored for embeddings and transposed convolutions.
    """
    if isinstance(module, nn.Embedding):
        return torch.eye(inputs, device=x.device)[None]
    if isinstance(module, Transposed):
        return cast("Tensor", transposed_sums(module, x[:, 0])[0]) / len(x)
    if centred:
        x = x - x.mean(0)  # (P, G, J)
    return x.permute(1, 2, 0) @ x.movedim(0, 1) / len(x)
