"""Outputs of networks that are no logits ``(N, K)``: picked from a structure, or predictions at every position."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError

Output: TypeAlias = str | int | Callable[[Any], Tensor]
IGNORED = -100  # label of a position that counts as no prediction, as PyTorch's losses have it


def with_output(network: nn.Module, output: Output) -> nn.Module:
    """Return a network that gives a part of this one's output; layers, names and weights are the same.

    Args:
        network: left alone; the two share their weights.
        output: key of a mapping, name of an attribute, index of a sequence, or a function of the whole output.
    """
    kind = type(network)

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return _pick(kind.forward(self, x), output, kind.__name__)

    picked = copy.copy(network)
    picked.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return picked


def _pick(whole: Any, output: Output, name: str) -> Tensor:
    if isinstance(output, str):
        if isinstance(whole, Mapping) and output in whole:
            return whole[output]
        if hasattr(whole, output) and not isinstance(whole, Mapping | Tensor):
            return getattr(whole, output)
    elif isinstance(output, int):
        if isinstance(whole, Sequence) and -len(whole) <= output < len(whole):
            return whole[output]
    else:
        return output(whole)
    raise AdrlGymError(
        f"{name} returns {described_output(whole)}, so there is no output {output!r}", parameter="logits"
    )


def described_output(whole: Any) -> str:
    """Return what an output is, with the parts that could be picked, for a message."""
    if isinstance(whole, Tensor):
        return str(tuple(whole.shape))
    kind = type(whole).__name__
    if isinstance(whole, Mapping):
        return f"a {kind} with {', '.join(map(repr, whole))}"
    if isinstance(whole, Sequence):
        return f"a {kind} of {len(whole)}"
    return f"a {kind} with {', '.join(vars(whole))}" if hasattr(whole, "__dict__") else f"a {kind}"


def by_position(logits: Tensor) -> Tensor:
    """Return logits with the classes last and all positions in a row, ``(N, P, K)``.

    Args:
        logits: ``(N, K)``, one prediction; ``(N, T, K)``, one for each token; or ``(N, K, H, W)``, one for each pixel.

    >>> import torch
    >>> [tuple(by_position(torch.zeros(shape)).shape) for shape in ((2, 5), (2, 7, 5), (2, 5, 3, 4))]
    [(2, 1, 5), (2, 7, 5), (2, 12, 5)]
    """
    if logits.dim() == 2:
        return logits[:, None]
    return logits if logits.dim() == 3 else logits.movedim(1, -1).flatten(1, -2)


def label_shape(logits: Tensor) -> tuple[int, ...]:
    """Return the shape of the labels of one image: ``()``, ``(T,)`` or ``(H, W)``; arguments as for ``by_position``."""
    return tuple(logits.shape[1:-1] if logits.dim() <= 3 else logits.shape[2:])
