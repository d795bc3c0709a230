"""Graph passes with torch.fx: partition a network at its quantizable layers and rewrite its parts."""

from adrl_gym.graph.activation_cache import ActivationCache
from adrl_gym.graph.batching import batches
from adrl_gym.graph.fold_bn import BatchNorm, fold_batch_norm
from adrl_gym.graph.functionalize import TraceError
from adrl_gym.graph.memory_format import alike, fast_layout, placed, to_layout
from adrl_gym.graph.partition import Live, Partition, Subgraph, partition_network, partition_unfolded

__all__ = [
    "ActivationCache",
    "BatchNorm",
    "Live",
    "Partition",
    "Subgraph",
    "TraceError",
    "alike",
    "batches",
    "fast_layout",
    "fold_batch_norm",
    "partition_network",
    "partition_unfolded",
    "placed",
    "to_layout",
]
