"""Integer arithmetic of a whole network: what runtimes compute from a file with quantized activations."""

from adrl_gym.quantization.integer.network import IntegerNetwork, integer_network
from adrl_gym.quantization.integer.operator import ON_GRID
from adrl_gym.quantization.integer.weights import IntegerLayer

__all__ = ["ON_GRID", "IntegerLayer", "IntegerNetwork", "integer_network"]
