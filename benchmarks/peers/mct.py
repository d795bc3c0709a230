"""Sony's model-compression-toolkit: post-training quantization with weights of 2, 4 or 8 bits found by its search.

The widths and their grids are those of its IMX500 target; activations stay float. ``defaults`` takes the tool's
settings, ``best effort`` scores by the Hessian and then runs its gradient-based quantization for 10 epochs.
"""

from collections.abc import Iterator
from typing import Any

import model_compression_toolkit as mct
from torch import nn

from benchmarks.peers.handed import Handed, PeerOutcome, count_weights, run_tool

_EPOCHS = 10  # of 1,000 images


def quantize_by_mct(handed: Handed) -> PeerOutcome:
    """Quantize under a limit on the bytes of the weights."""
    counted = count_weights(handed.network)
    limit = mct.core.ResourceUtilization(weights_memory=sum(counted.values()) * handed.bits / 8)
    best = handed.setting == "best effort"
    mixed = mct.core.MixedPrecisionQuantizationConfig(use_hessian_based_scores=best)
    core = mct.core.CoreConfig(mixed_precision_config=mixed)

    def images() -> Iterator[list[Any]]:
        for x in handed.batches():
            yield [x.numpy()]

    platform = _weights_only(mct.get_target_platform_capabilities())
    common: dict[str, Any] = {
        "target_resource_utilization": limit,
        "core_config": core,
        "target_platform_capabilities": platform,
    }
    if best:
        training = mct.gptq.get_pytorch_gptq_config(n_epochs=_EPOCHS)
        network, _ = mct.gptq.pytorch_gradient_post_training_quantization(
            handed.network, images, gptq_config=training, **common
        )
        method = f"mixed precision by Hessian scores, 2, 4, 8 bits, gradient-based quantization of {_EPOCHS} epochs"
    else:
        network, _ = mct.ptq.pytorch_post_training_quantization(handed.network, images, **common)
        method = "post-training quantization, mixed precision, 2, 4, 8 bits"
    bits, weights = _bits(network)
    left = sum(counted.values()) - sum(weights.values())
    if left > 0:
        bits["float"], weights["float"] = 32.0, left
    return PeerOutcome(network, bits, weights, method)


def _weights_only(platform: Any) -> Any:
    """Return the platform with no activation quantized."""
    sets = tuple(
        of if of.qc_options is None else of.model_copy(update={"qc_options": _float_activations(of.qc_options)})
        for of in platform.operator_set
    )
    return platform.model_copy(update={"operator_set": sets, "default_qco": _float_activations(platform.default_qco)})


def _float_activations(options: Any) -> Any:
    return options.clone_and_edit(enable_activation_quantization=False)


def _bits(network: nn.Module) -> tuple[dict[str, float], dict[str, int]]:
    """Bits and number of weights of the quantized layers, as their quantizers have them."""
    bits: dict[str, float] = {}
    weights: dict[str, int] = {}
    for name, module in network.named_modules():
        for quantizer in getattr(module, "weights_quantizers", {}).values():
            bits[name], weights[name] = float(quantizer.num_bits), module.layer.weight.numel()
    return bits, weights


if __name__ == "__main__":
    run_tool("model-compression-toolkit", quantize_by_mct)
