"""The plain way to evaluate a configuration: what the fast ``Engine`` is compared with."""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.datasets import Images
from adrl_gym.evaluation.placed_params import PlacedParams
from adrl_gym.evaluation.runner import ModuleRunner
from adrl_gym.graph import ActivationCache, to_layout
from adrl_gym.layers import LayerSpec, QuantizedParams, own_params, quantizable

_BATCH = 250  # images


class ReferenceEvaluator:
    """Weights in place, whole passes through the network as it is: batch norm as modules, contiguous tensors.

    Args:
        network: in evaluation mode; copied, never changed.
        layers: its quantizable layers.
        params: of every layer, bit-width -> quantized weights.
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[LayerSpec], params: Sequence[Mapping[int, QuantizedParams]]
    ) -> None:
        network = copy.deepcopy(network).eval().requires_grad_(False).cpu()
        modules = [quantizable(network, layer) for layer in layers]
        own = [own_params(module) for module in modules]
        self._runner = ModuleRunner(network, layers, [PlacedParams(*pair) for pair in zip(params, own, strict=True)])

    def logits(self, images: Images, bits: Bits) -> Tensor:
        """Logits ``(N, K)`` of one configuration."""
        nothing = ActivationCache(0)
        batches = [self._runner.logits(batch, [bits], 0, nothing)[0] for batch, _ in images.batches(_BATCH)]
        return torch.cat(batches)  # (N, K)


def whole_logits(
    network: nn.Module, batches: Iterable[Tensor], layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Logits ``(N, K)`` of a network as it is, on its own device, for images ``(B, C, H, W)`` each; on the CPU.

    Its weights are put into ``layout``, and with them what it computes.
    """
    device = next(network.parameters()).device
    to_layout(network, layout)
    with torch.inference_mode():
        return torch.cat([network(batch.to(device, copy=True)).float().cpu() for batch in batches])
