"""Multi-head attention as layers: what ``nn.MultiheadAttention`` computes, with ``nn.Linear`` modules that run."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym.layers.windows import is_window_attention, run_as_layers


class LinearAttention(nn.Module):
    """The same as an ``nn.MultiheadAttention``, up to rounding, with its projections as ``Linear`` modules.

    ``nn.MultiheadAttention`` computes with bare parameters and never runs its ``out_proj`` as a module, so no layer can
    be found in it. ``in_proj`` holds the weights of queries, keys and values, one below the other.

    Args:
        attention: with one packed input projection; its parameters are shared.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        size = attention.embed_dim
        self.embed_dim, self.num_heads, self.dropout = size, attention.num_heads, attention.dropout
        self.batch_first = attention.batch_first
        self.in_proj = nn.Linear(size, 3 * size, bias=attention.in_proj_bias is not None, device="meta")
        self.in_proj.weight, self.in_proj.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = nn.Linear(size, size, bias=attention.out_proj.bias is not None, device="meta")
        self.out_proj.weight, self.out_proj.bias = attention.out_proj.weight, attention.out_proj.bias
        # Where these say so, an encoder layer of torch.nn runs its modules one by one in evaluation mode too.
        self._qkv_same_embed_dim = False
        self.in_proj_bias = self.in_proj_weight = None
        self.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,  # a hint: the mask says the same
    ) -> tuple[Tensor, Tensor | None]:
        """See ``nn.MultiheadAttention``."""
        # Only where all three are the same does one run of the projection serve them.
        whole = self.in_proj(query)  # (B, T, 3 E), or (T, B, 3 E), or (T, 3 E)
        of_key = whole if key is query else self.in_proj(key)
        of_value = whole if value is query else of_key if value is key else self.in_proj(value)
        size = self.embed_dim
        parts = (whole[..., :size], of_key[..., size : 2 * size], of_value[..., 2 * size :])
        turned = whole.dim() == 3 and not self.batch_first
        q, k, v = (self._heads(part.transpose(0, 1) if turned else part) for part in parts)  # (B, h, T, d) each
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, h, T, S)
            shares = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout, self.training)
            mixed = shares @ v  # (B, h, T, d)
            weights = shares.mean(-3) if average_attn_weights else shares
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        y = self.out_proj(mixed.transpose(-3, -2).flatten(-2))  # (B, T, E)
        return (y.transpose(0, 1) if turned else y), weights

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)  # (B, h, T, d)

    def _mask(self, q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as what is added to scores ``(B, h, T, S)``; those without a batch lack ``B``."""
        found = None if mask is None else _added(mask, q.dtype)
        if found is not None and found.dim() == 3:  # (B h, T, S)
            found = found.reshape(*q.shape[:-2], q.shape[-2], k.shape[-2])
        if padding is None:
            return found
        hidden = _added(padding, q.dtype)[..., None, None, :]  # (B, 1, 1, S)
        return hidden if found is None else found + hidden


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask that hides where it is true, as minus infinity there; one of numbers as it is."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask


def with_linear_attention(network: nn.Module) -> nn.Module:
    """Return the network with each ``nn.MultiheadAttention`` as layers: itself where it has none, else a copy.

    The window attention of torchvision's Swin likewise. Those with separate sizes of keys or values, added biases of
    keys, hooks, or a ``forward`` of their own stay.
    """
    if not any(_splits(module) or is_window_attention(module) for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for module in network.modules():
        if is_window_attention(module):
            run_as_layers(module)
    made: dict[nn.Module, nn.Module] = {}
    if _splits(network):
        return LinearAttention(network)  # type: ignore[arg-type]
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):  # all names, also of modules that are used twice
            if child is not None and _splits(child):
                if child not in made:
                    made[child] = LinearAttention(child)  # type: ignore[arg-type]
                parent._modules[name] = made[child]
    return network


def _splits(module: nn.Module | None) -> bool:
    return (
        isinstance(module, nn.MultiheadAttention)
        and type(module).forward is nn.MultiheadAttention.forward
        and "forward" not in vars(module)
        and module._qkv_same_embed_dim
        and "parametrizations" not in module._modules
        and "parametrizations" not in module.out_proj._modules
        and module.bias_k is None
        and not module.add_zero_attn
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module.out_proj._forward_hooks
        and not module.out_proj._forward_pre_hooks  # pruned, for example
    )
