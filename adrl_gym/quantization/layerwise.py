"""Make every layer's quantized weights once for each bit-width."""

from collections.abc import Sequence

from torch import Tensor, nn
from tqdm import tqdm

from adrl_gym.layers import LayerSpec, QuantizedParams, quantizable
from adrl_gym.quantization.base import NEED_SECOND_MOMENTS, quantize
from adrl_gym.quantization.bias_correction import bias_correction as correction
from adrl_gym.quantization.hessian import collect_moments


def quantize_layers(
    network: nn.Module,
    layers: Sequence[LayerSpec],
    images: Tensor,
    *,
    quantizer: str,
    bits: Sequence[int],
    bias_correction: bool,
    progress: bool = False,
) -> list[dict[int, QuantizedParams]]:
    """For every layer, bit-width -> quantized weight and corrected bias.

    Everything here depends on (layer, bits) alone, so a search pays for it once: the moments are those of
    the *float* network's inputs, on unlabelled ``images`` ``(N, C, H, W)``.

    Raises:
        AdrlGymError: NaN or infinite weights (names the layer).
    """
    prepared: dict[str, dict[int, QuantizedParams]] = {}
    moments = collect_moments(network, layers, images, second=quantizer in NEED_SECOND_MOMENTS)
    for layer, moment in tqdm(moments, "quantizing layers", len(layers), leave=False, disable=not progress):
        module = quantizable(network, layer)
        weight, bias = module.weight.detach(), module.bias
        versions = quantize(
            weight,
            bits,
            quantizer,
            # Bias correction takes the mean error away, so what is left to minimise is the centred one.
            second_moment=moment.centred if bias_correction else moment.second,
            layer=layer.name,
        )
        prepared[layer.name] = {}
        for b, quantized in versions.items():
            shift = correction(weight, quantized, moment.mean) if bias_correction else None  # (O,)
            if shift is not None:
                shift = shift if bias is None else bias.detach() + shift
            elif bias is not None:
                shift = bias.detach()
            prepared[layer.name][b] = QuantizedParams(quantized, shift)
    return [prepared[layer.name] for layer in layers]
