"""Graph passes with torch.fx: partition a network at its quantizable layers and rewrite its parts."""

from adrl_gym.graph.activation_cache import ActivationCache
from adrl_gym.graph.functionalize import TraceError
from adrl_gym.graph.memory_format import fast_layout, placed
from adrl_gym.graph.partition import Live, ParamsByBits, Subgraph, cut, partition_unfolded

__all__ = [
    "ActivationCache",
    "Live",
    "ParamsByBits",
    "Subgraph",
    "TraceError",
    "cut",
    "fast_layout",
    "partition_unfolded",
    "placed",
]
