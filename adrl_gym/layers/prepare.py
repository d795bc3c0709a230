"""Networks as people have them: compiled, pruned, parametrised, lazy, scripted, exported."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers.kinds import is_quantizable

# Attribute that torch.nn.utils leaves on a module whose weight it computes anew -> what takes it away; first match.
_COMPUTED = {
    "weight_u": "torch.nn.utils.remove_spectral_norm(module)",
    "weight_g": "torch.nn.utils.remove_weight_norm(module)",
    "weight_orig": 'torch.nn.utils.prune.remove(module, "weight")',
}


def prepared(network: nn.Module) -> nn.Module:
    """Return the network without the wrappers of ``torch.compile``: itself, its original, or a copy.

    Raises:
        AdrlGymError: not an ``nn.Module`` that can be searched: scripted, not yet initialised, not to be copied or
            hashed; the message says which, and what to do.
    """
    network = _original(network)
    _check_kind(network)
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # whatever attributes of the user's own raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        remedy = computed_weights(network) or "take what cannot be copied (locks, files, threads) out of its attributes"
        raise AdrlGymError(f"{type(network).__name__} cannot be copied ({reason}): {remedy}") from error
    compiled = [module for module in copied.modules() if hasattr(module, "_orig_mod")]
    if not compiled and not any(module._compiled_call_impl for module in network.modules()):
        return network
    for parent in list(copied.modules()):
        for key, child in list(parent._modules.items()):
            if child is not None:
                parent._modules[key] = _original(child)
    return copied  # without ``module.compile()``, which no copy takes along


def _check_kind(network: nn.Module) -> None:
    name = type(network).__name__
    if isinstance(network, torch.jit.ScriptModule):
        raise AdrlGymError(f"{name} is scripted, so its layers cannot be replaced: give the nn.Module it was made from")
    if isinstance(network, fx.GraphModule) and not any(is_quantizable(module) for module in network.modules()):
        raise AdrlGymError(
            f"{name} is an exported graph of operations without layers: give the nn.Module it was made from"
        )
    for key, value in network.state_dict().items():
        if is_lazy(value):
            raise AdrlGymError(f"{key} of {name} is lazy and has no shape yet: run one batch through the network first")
        if not isinstance(value, Tensor):
            raise AdrlGymError(
                f"{key} of {name}'s state dict is no tensor but {type(value).__name__}, so it can be neither hashed "
                "nor exported: keep it out of get_extra_state"
            )
        if value.is_meta:
            raise AdrlGymError(f"{key} of {name} is on the device meta, so without its numbers: give it its weights")
        if value.is_inference():
            raise AdrlGymError(f"{key} of {name} was made in torch.inference_mode: make the network outside of it")


def computed_weights(network: nn.Module) -> str | None:
    """Return what takes away the computation of weights, where torch.nn.utils computes them in every pass."""
    for path, module in network.named_modules():
        place = f"module {path}" if path else "the network"
        if isinstance(module, nn.Module) and parametrize.is_parametrized(module, "weight"):
            remedy = 'torch.nn.utils.parametrize.remove_parametrizations(module, "weight")'
            return f"the weight of {place} is computed in every pass: call {remedy}"
        for attribute, remedy in _COMPUTED.items():
            if attribute in module._parameters or attribute in module._buffers:
                return f"the weight of {place} is computed in every pass: call {remedy}"
    return None


def nothing_to_quantize(network: nn.Module) -> str:
    """Return the reason why no layer was found."""
    return computed_weights(network) or "no convolution, Linear or Embedding layer ran in its forward pass"


def _original(module: nn.Module) -> nn.Module:
    while isinstance(original := getattr(module, "_orig_mod", None), nn.Module):
        module = original
    return module
