"""Checks for NaN and infinity in the float network and in its logits."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from adrl_gym.errors import AdrlGymError


def check_finite_logits(network: nn.Module, logits: Tensor, first: int = 0) -> None:
    """Refuse logits ``(B, K)`` of the float network that are not finite.

    Args:
        network: that gave them.
        logits: of images in a row.
        first: index of the first of these images.

    Raises:
        AdrlGymError: names the first bad parameter or buffer, or else the first such image.
    """
    if logits.isfinite().all():
        return
    name = type(network).__name__
    tensors = chain(network.named_parameters(), network.named_buffers())
    bad = next((tensor_name for tensor_name, tensor in tensors if _is_bad(tensor)), None)
    bad = next(_broken(network), bad)  # surely, while a tensor of infinities may be a mask
    if bad is not None:
        raise AdrlGymError(
            f"{name} gives NaN or infinite logits, and its {bad} holds NaN or infinity: take an intact checkpoint",
            parameter="weights",
        )
    index = first + int((~logits.isfinite()).flatten(1).any(1).nonzero()[0])
    raise AdrlGymError(
        f"{name} gives NaN or infinite logits for image {index}: check how that image is prepared, and whether the "
        "network overflows"
    )


def check_finite_tensors(network: nn.Module, x: Tensor) -> None:
    """Refuse NaN and infinity that the network computes with and its logits do not show.

    An infinite running mean in front of a ReLU is one: its channel is always 0.

    Args:
        network: in evaluation mode.
        x: an input ``(1, ...)``, on the network's device.

    Raises:
        AdrlGymError: names the first such parameter or running statistic of a module that runs.
    """
    if next(_broken(network), None) is None:
        return
    ran: set[nn.Module] = set()
    handles = [module.register_forward_pre_hook(lambda m, _: ran.add(m)) for module in network.modules()]
    try:
        with torch.inference_mode():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    for module in list(ran):
        if isinstance(module, nn.MultiheadAttention):  # runs none of its modules
            ran.update(module.modules())
    if (bad := next(_broken(network, ran), None)) is not None:
        raise AdrlGymError(
            f"{type(network).__name__} computes with {bad}, which holds NaN or infinity, although its logits are "
            "finite: take an intact checkpoint",
            parameter="weights",
        )


def _broken(network: nn.Module, among: set[nn.Module] | None = None) -> Iterator[str]:
    """Yield names of tensors with numbers that no intact network has.

    Those are parameters with NaN, parameters of PyTorch's own modules with infinity, and running statistics with
    either. Infinity elsewhere may be a mask, and NaN in a buffer a number that is not known yet.
    """
    for path, module in network.named_modules():
        if among is not None and module not in among:
            continue
        own = any(kind.__module__.startswith("torch.nn.modules.") for kind in type(module).__mro__[:-2])
        tensors = dict(module.named_parameters(recurse=False))
        if isinstance(module, _NormBase):
            tensors |= dict(module.named_buffers(recurse=False))
        for name, tensor in tensors.items():
            if _is_bad(tensor) and (own or bool(tensor.isnan().any())):
                yield f"{path}.{name}" if path else name


def _is_bad(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.isfinite().all())
