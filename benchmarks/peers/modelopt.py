"""NVIDIA's modelopt: ``auto_quantize`` with integer weight-only formats of 2, 3, 4 and 8 bits, one scale a channel.

The tool ships weight-only formats of 4 and 8 bits alone, so these are custom formats, which its documentation calls
experimental. ``defaults`` calibrates by the largest weight, ``best effort`` by the least squared error of the weights.
"""

from typing import Any

import modelopt.torch.quantization as mtq
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.handed import Handed, PeerOutcome, count_weights, run_tool, weighted_layers

_WIDTHS = (2, 3, 4, 8)
_CALIBRATION = {"defaults": "max", "best effort": "mse"}


def quantize_by_modelopt(handed: Handed) -> PeerOutcome:
    """Search one of the formats for each layer, by the gradient of the divergence from the float network."""
    counted = count_weights(handed.network)
    algorithm = _CALIBRATION[handed.setting]
    images = [
        (x, handed.network(x).softmax(1).multinomial(1)[:, 0].detach()) for x in handed.batches()
    ]  # labels drawn from the float network's prediction
    network, _ = mtq.auto_quantize(
        handed.network,
        constraints={"effective_bits": handed.bits},
        quantization_formats=[_format(bits, algorithm) for bits in _WIDTHS],
        data_loader=images,
        forward_step=_forward,
        loss_func=_loss,
        num_calib_steps=len(images),
        num_score_steps=len(images),
    )
    bits = {name: _bits(module) for name, module in weighted_layers(network).items()}
    method = f"auto_quantize, method gradient, custom formats of 2, 3, 4, 8 bits, {algorithm} calibration"
    return PeerOutcome(network, bits, counted, method)


def _forward(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return network(batch[0])


def _loss(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(logits, batch[1])


def _format(bits: int, algorithm: str) -> dict[str, Any]:
    return {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}},
        ],
        "algorithm": algorithm,
    }


def _bits(module: nn.Module) -> float:
    quantizer: Any = getattr(module, "weight_quantizer", None)
    return float(quantizer.num_bits) if quantizer is not None and quantizer.is_enabled else 32.0


if __name__ == "__main__":
    run_tool("nvidia-modelopt", quantize_by_modelopt)
