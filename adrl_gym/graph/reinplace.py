"""Let what follows a layer write into the layer's own output: less memory to fill, and the same values."""

import math
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from adrl_gym.layers import is_plain

SUMS = {operator.add, torch.add, "add"}
# What sets negative values to 0 -> the most that it leaves.
RELUS: dict[Any, float] = {F.relu: math.inf, torch.relu: math.inf, "relu": math.inf, F.relu6: 6.0}


def reinplace(segment: fx.GraphModule) -> None:
    """Turn sums and ReLUs into writes where their input is a layer's output in this segment that they alone read.

    The network's own writes are gone by then (see ``in_place``): there, who else reads the memory is not known; here it
    is memory that the segment has just made, and what comes in from before, which is kept, is never written to.
    """
    fresh: set[Any] = set()  # nodes whose memory nobody else holds
    for node in segment.graph.nodes:
        module = segment.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d | nn.Linear):
            if is_plain(module):
                fresh.add(node)
        elif node.target in SUMS and len(node.args) == 2 and not node.kwargs:
            for own, other in (node.args, node.args[::-1]):
                if _is_free(own, fresh):
                    _replace(node, _add_into, (own, other))
                    fresh.add(node)
                    break
        elif (most := _largest(node, module)) is not None and node.args and _is_free(node.args[0], fresh):
            _replace(node, *((torch.relu_, node.args[:1]) if most == math.inf else (_clamp, (node.args[0], most))))
            fresh.add(node)
    segment.recompile()


def _largest(node: fx.Node, module: nn.Module | None) -> float | None:
    """Return the most that a ReLU leaves; ``None`` of anything else."""
    if module is None:
        return RELUS.get(node.target)
    if type(module) not in (nn.ReLU, nn.ReLU6) or module._forward_hooks or module._forward_pre_hooks:
        return None
    return math.inf if type(module) is nn.ReLU else 6.0


def _is_free(node: Any, fresh: set[Any]) -> bool:
    return node in fresh and len(node.users) == 1


def _replace(node: fx.Node, function: Any, args: tuple[Any, ...]) -> None:
    node.op, node.target, node.args, node.kwargs = "call_function", function, args, {}


def _add_into(own: Tensor, other: Any) -> Tensor:
    """The sum, in the memory of ``own`` unless it takes more or other memory."""
    if isinstance(other, Tensor) and (other.shape, other.dtype) != (own.shape, own.dtype):
        return own + other
    return own.add_(other)


def _clamp(x: Tensor, most: float) -> Tensor:
    return x.clamp_(0.0, most)
