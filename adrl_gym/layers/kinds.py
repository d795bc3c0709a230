"""The kinds of modules whose weights are quantized, and their weights seen as rows of output channels."""

from typing import TypeAlias, cast

import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym.layers.inputs import InputQuantizer

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
# Transformers' ``Conv1D``, known by its name alone, counts as a Linear layer whose weight is transposed.
Quantizable: TypeAlias = Convolution | Transposed | nn.Linear | nn.Embedding

_BASES = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)


def is_quantizable(module: nn.Module) -> bool:
    """Return whether the module holds one weight matrix or kernel that is quantized.

    A transposed convolution in groups stays float: no axis of its weight is its output channels.
    """
    if isinstance(module, Transposed):
        return module.groups == 1
    return isinstance(module, _BASES) or is_transposed_linear(module)


def is_transposed_linear(module: nn.Module) -> bool:
    """Return whether it is transformers' ``Conv1D``: ``x W + b`` with a weight ``(I, O)``."""
    own = type(module)
    return own.__name__ == "Conv1D" and own.__module__.startswith("transformers") and hasattr(module, "nf")


def channel_axis(module: nn.Module) -> int:
    """Return the axis of the weight that counts output channels; for an embedding, the entries."""
    return int(isinstance(module, Transposed) or is_transposed_linear(module))


def is_plain(module: Quantizable) -> bool:
    """Return whether it is linear in its weight, with no formula of its own and no hook but an ``InputQuantizer``."""
    before = [hook for hook in module._forward_pre_hooks.values() if not isinstance(hook, InputQuantizer)]
    if module._forward_hooks or before or "forward" in vars(module):
        return False
    own = type(module)
    if is_transposed_linear(module):
        return True
    base = next(base for base in _BASES if isinstance(module, base))
    return all(getattr(own, name, None) is getattr(base, name, None) for name in ("forward", "_conv_forward"))


def formula(module: Quantizable, x: Tensor) -> Tensor | None:
    """Return what the module's kind computes from its weight and bias; ``None`` where positions differ in weights."""
    for base in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        if isinstance(module, base):
            return base._conv_forward(module, x, module.weight, module.bias)  # type: ignore[arg-type]
    if isinstance(module, nn.Linear):
        return F.linear(x, module.weight, module.bias)
    if is_transposed_linear(module):
        return F.linear(x, module.weight.T, cast("Tensor", module.bias))
    return None


def spatial_sides(module: nn.Module) -> int:
    """Return how many axes of the module's input follow its channels."""
    return len(module.kernel_size) if isinstance(module, Convolution | Transposed) else 0
