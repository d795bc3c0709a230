"""Qualcomm's AIMET: uniform bits, since its automatic mixed precision keeps an accuracy, not a size.

Batch norm is folded; weights have symmetric grids, one for each output channel; activations stay float. ``defaults``
sets the grids by the largest weight, ``best effort`` by sequential MSE, the error of each layer's output.
"""

from typing import Any

import torch
from aimet_torch.batch_norm_fold import fold_all_batch_norms
from aimet_torch.quantsim import QuantizationSimModel
from aimet_torch.seq_mse import apply_seq_mse
from aimet_torch.utils import remove_activation_quantizers
from torch import Tensor, nn

from benchmarks.peers.handed import Handed, PeerOutcome, count_weights, run_tool


def quantize_by_aimet(handed: Handed) -> PeerOutcome:
    """Fold batch norm, quantize every layer to the same bits, and set the grids."""
    counted = count_weights(handed.network)
    bits = int(handed.bits)
    one = handed.calibration[:1]  # (1, C, H, W)
    fold_all_batch_norms(handed.network, input_shapes=tuple(one.shape), dummy_input=one)
    sim: Any = QuantizationSimModel(handed.network, dummy_input=one, default_param_bw=bits)
    remove_activation_quantizers(sim.model)
    method = "uniform bits, grids by the largest weight"
    if handed.setting == "best effort":
        apply_seq_mse(sim, list(handed.batches()), forward_fn=_forward)
        method = "uniform bits, grids by sequential MSE"
    sim.compute_encodings(lambda network: _run(network, handed))
    widths = {name: _bits(sim.model.get_submodule(name)) for name in counted}
    return PeerOutcome(sim.model, widths, counted, method)


def _forward(network: nn.Module, batch: Tensor) -> Tensor:
    return network(batch)


def _run(network: nn.Module, handed: Handed) -> None:
    with torch.no_grad():
        for x in handed.batches():
            network(x)


def _bits(module: Any) -> float:
    quantizer = module.param_quantizers["weight"]
    return 32.0 if quantizer is None else float(quantizer.bitwidth)


if __name__ == "__main__":
    run_tool("aimet-torch", quantize_by_aimet)
