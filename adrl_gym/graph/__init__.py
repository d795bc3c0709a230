"""Graph passes with torch.fx: partition a network at its quantizable layers and rewrite its parts."""

from adrl_gym.graph.activation_cache import KeptActivations
from adrl_gym.graph.functionalize import CannotCutError
from adrl_gym.graph.memory_format import fast_layout, placed
from adrl_gym.graph.partition import Live, Segment, Versions, cut, cut_unfolded

__all__ = [
    "CannotCutError",
    "KeptActivations",
    "Live",
    "Segment",
    "Versions",
    "cut",
    "cut_unfolded",
    "fast_layout",
    "placed",
]
