"""Exploration noise of HAQ: a normal distribution around the actor's action, cut to the range of actions."""

import torch
from torch import Tensor
from torch.special import ndtr, ndtri


def truncated_normal(mean: Tensor, sigma: float, low: float = -1.0, high: float = 1.0) -> Tensor:
    """One draw for every element of ``mean`` (any shape), normal with ``sigma``, within [low, high].

    By inverting the cumulative distribution, in double precision. Drawn from PyTorch's global generator, so
    that the seed of an SB3 agent fixes it. Source: HAQ, section 3.5 (truncated normal exploration).
    """
    mean = mean.double()
    lower, upper = ndtr((low - mean) / sigma), ndtr((high - mean) / sigma)
    uniform = torch.rand_like(mean)
    draw = mean + sigma * ndtri(lower + uniform * (upper - lower))
    return draw.clamp(low, high).float()
