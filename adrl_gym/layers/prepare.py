"""Networks as people have them: compiled, pruned, parametrised, lazy, scripted, exported."""

import copy
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers.kinds import is_quantizable

# What torch.nn.utils puts behind the name of a tensor that it computes anew -> what takes it away.
_REMEDIES = {
    "u": 'torch.nn.utils.remove_spectral_norm(module, "{}")',
    "g": 'torch.nn.utils.remove_weight_norm(module, "{}")',
    "orig": 'torch.nn.utils.prune.remove(module, "{}")',
}


def prepared(network: nn.Module) -> nn.Module:
    """Return the network without the wrappers of ``torch.compile``: itself, its original, or a copy.

    A network with lazy modules comes back as it is: call it again once ``materialize`` has given them shapes.

    Raises:
        AdrlGymError: not an ``nn.Module`` that can be searched: scripted, not to be copied or
            hashed; the message says which, and what to do.
    """
    network = _original(network)
    _check_kind(network)
    if lazy_tensors(network):
        return network  # until ``materialize``; it cannot be copied before
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # whatever attributes of the user's own raise
        name = type(network).__name__
        if computed := computed_weights(network):
            raise AdrlGymError(f"{name} cannot be copied: {computed}") from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AdrlGymError(
            f"{name} cannot be copied ({reason}): take what cannot be copied (locks, files, threads) out of its "
            "attributes"
        ) from error
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
    for path, module in network.named_modules():
        if _is_quantized(module):
            raise AdrlGymError(
                f"{path or 'all'} of {name} is a {type(module).__name__} of torch.ao.quantization: give the float "
                "network, as it was before prepare and convert"
            )
    for key, value in network.state_dict().items():
        if is_lazy(value):
            continue  # until images are known
        if not isinstance(value, Tensor):
            raise AdrlGymError(
                f"{key} of {name}'s state dict is no tensor but {type(value).__name__}, so it can be neither hashed "
                "nor exported: keep it out of get_extra_state"
            )
        if value.is_meta:
            raise AdrlGymError(f"{key} of {name} is on the device meta, so without its numbers: give it its weights")
        if value.is_inference():
            raise AdrlGymError(f"{key} of {name} was made in torch.inference_mode: make the network outside of it")


def lazy_tensors(network: nn.Module) -> list[str]:
    """Return the names of parameters and buffers of lazy modules that have no shape yet."""
    return [name for name, tensor in chain(network.named_parameters(), network.named_buffers()) if is_lazy(tensor)]


def materialize(network: nn.Module, x: Tensor) -> None:
    """Give lazy modules their shapes, in place, by a forward pass of ``x`` ``(1, ...)``.

    The weights that they draw are the same each time. Networks without lazy modules are left alone.

    Raises:
        AdrlGymError: a lazy module that the pass does not run.
    """
    if not lazy_tensors(network):
        return
    # Not in inference mode, whose tensors could not be trained later.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network(x)
    if left := lazy_tensors(network):
        raise AdrlGymError(
            f"{left[0]} of {type(network).__name__} is lazy, and no forward pass gives it a shape: take that module "
            "out, or give it its shape"
        )


def computed_weights(network: nn.Module) -> str | None:
    """Return what takes away the computation of weights, where torch.nn.utils computes them in every pass."""
    found = [(path, *what) for path, module in network.named_modules() for what in _computed(module)]
    if not found:
        return None
    path, tensor, remedy = found[0]
    place = f"module {path}" if path else "the network"
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"the {tensor} of {place}{others} is computed in every pass: call {remedy}"


def _computed(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the tensors that torch.nn.utils computes anew in every pass, each with what takes that away."""
    if parametrize.is_parametrized(module):
        for tensor in module.parametrizations:  # type: ignore[union-attr]
            yield tensor, f'torch.nn.utils.parametrize.remove_parametrizations(module, "{tensor}")'
    stored = {**module._parameters, **module._buffers}
    for name in list(stored):
        tensor, _, suffix = name.rpartition("_")
        if suffix == "orig":
            normed = f"{tensor}_u" in stored
            yield tensor, _REMEDIES["u" if normed else "orig"].format(tensor)
        elif suffix == "g" and f"{tensor}_v" in stored:
            yield tensor, _REMEDIES["g"].format(tensor)


def nothing_to_quantize(network: nn.Module) -> str:
    """Return the reason why no layer was found."""
    return computed_weights(network) or "no convolution, Linear or Embedding layer ran in its forward pass"


def _original(module: nn.Module) -> nn.Module:
    while isinstance(original := getattr(module, "_orig_mod", None), nn.Module):
        module = original
    return module


def _is_quantized(module: nn.Module) -> bool:
    """Return whether PyTorch's own quantization made or put in the module."""
    kinds = type(module).__mro__
    home = type(module).__module__
    observes = any(kind.__name__ in ("ObserverBase", "FakeQuantizeBase") for kind in kinds)
    return observes or (home.startswith("torch.ao.nn.") and ".quantized." in home and "functional" not in home)


def unregistered(network: nn.Module) -> dict[nn.Module, str]:
    """Return quantizable modules that plain lists and other attributes alone hold, with the attribute's name.

    ``nn.Module`` does not know them: they have no place in state dicts, and no call of ``to`` or ``eval`` reaches them.
    """
    known = set(network.modules())
    usual = vars(nn.Module()).keys()
    found: dict[nn.Module, str] = {}
    for path, module in network.named_modules():
        for key, value in vars(module).items():
            if key in usual:
                continue
            items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            for item in items:
                if isinstance(item, nn.Module) and item not in known:
                    name = f"{path}.{key}" if path else key
                    found |= {inner: name for inner in item.modules() if is_quantizable(inner)}
    return found
