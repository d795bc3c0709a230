"""Half precision for all of a quantized network that is not integer codes, where its predictions stay."""

import copy
import dataclasses

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import whole_logits
from adrl_gym.outputs import by_position
from adrl_gym.quantization import QuantizedNetwork

_CHANGED = 0.001  # share of predictions that may be others: those between two classes as good as equal
_BATCH = 64  # images


def half_precision(quantized: QuantizedNetwork, images: Tensor) -> QuantizedNetwork:
    """Return the network with scales, biases and norms that float16 can hold, or as it is.

    ``save_packed`` stores such numbers in 2 bytes. Statistics, scale and shift of a batch norm become two numbers a
    channel that compute the same: its means are 0 and its variances 1. The integer codes stay.

    Args:
        quantized: left alone.
        images: float32 ``(N, C, H, W)``, unlabelled, on the CPU. Where the predicted class of more than one in 1,000
            changes, the network is returned as it is.

    Raises:
        AdrlGymError: no images, or weights that do not fit their bits.
    """
    if len(images) < 1:
        raise AdrlGymError("0 images to compare predictions on: at least 1 is needed", parameter="images")
    network = copy.deepcopy(quantized.network).cpu().eval()
    coded = quantized.encode()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                _merge(module)
        for name, weight in coded.items():
            halved = dataclasses.replace(weight, scales=_rounded(weight.scales))
            network.get_parameter(name).data = halved.weight
        weights = {network.get_parameter(name).data_ptr() for name in coded}
        for tensor in network.state_dict().values():
            if tensor.dtype == torch.float32 and tensor.data_ptr() not in weights:
                tensor.copy_(_rounded(tensor))
    before, after = (_classes(one, images) for one in (quantized.network, network))  # (N P,) each
    changed = (before != after).float().mean()
    return quantized if changed > _CHANGED else quantized.with_network(network)


def is_half(tensor: Tensor) -> bool:
    """Return whether float16 holds every number of a float32 tensor, bit for bit."""
    return torch.equal(_rounded(tensor).view(torch.int32), tensor.view(torch.int32))


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.half().float()


def _merge(norm: _BatchNorm) -> None:
    """Put the statistics of a batch norm into its scale and shift, if it has these."""
    mean, variance = norm.running_mean, norm.running_var  # (C,) each
    if not norm.affine or mean is None or variance is None:
        return
    norm.weight.mul_(((1 + norm.eps) / (variance + norm.eps)).sqrt())  # (C,)
    norm.bias.sub_(mean * norm.weight / (1 + norm.eps) ** 0.5)
    mean.zero_()
    variance.fill_(1)


def _classes(network: nn.Module, images: Tensor) -> Tensor:
    """Return the class of every prediction ``(N P,)``; -1 where it is no number."""
    logits = by_position(whole_logits(network, images.split(_BATCH))).flatten(0, -2)  # (N P, K)
    return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)
