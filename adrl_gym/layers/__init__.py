"""The quantizable layers of a network: which there are, how they are described, what they compute with."""

from adrl_gym.layers.attention import LinearAttention, with_linear_attention
from adrl_gym.layers.find import (
    FEATURES,
    LayerSpec,
    find_layers,
    layer_features,
    layer_input,
    quantizable,
    shared_weights,
    unquantized,
)
from adrl_gym.layers.inputs import (
    MAX_ACTIVATION_BITS,
    MIN_ACTIVATION_BITS,
    ActivationGrid,
    check_activation_bits,
)
from adrl_gym.layers.kinds import (
    Convolution,
    Quantizable,
    Transposed,
    channel_axis,
    formula,
    is_plain,
    is_quantizable,
    is_transposed_linear,
    spatial_sides,
)
from adrl_gym.layers.params import QuantizedParams, load_quantized, own_params, quantized_copy
from adrl_gym.layers.prepare import lazy_tensors, materialize, prepared
from adrl_gym.layers.windows import WindowAttention

__all__ = [
    "FEATURES",
    "MAX_ACTIVATION_BITS",
    "MIN_ACTIVATION_BITS",
    "ActivationGrid",
    "Convolution",
    "LayerSpec",
    "LinearAttention",
    "Quantizable",
    "QuantizedParams",
    "Transposed",
    "WindowAttention",
    "channel_axis",
    "check_activation_bits",
    "find_layers",
    "formula",
    "is_plain",
    "is_quantizable",
    "is_transposed_linear",
    "layer_features",
    "layer_input",
    "lazy_tensors",
    "load_quantized",
    "materialize",
    "own_params",
    "prepared",
    "quantizable",
    "quantized_copy",
    "shared_weights",
    "spatial_sides",
    "unquantized",
    "with_linear_attention",
]
