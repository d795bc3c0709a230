"""Fold batch norms into the layers before them, after quantization.

Channel ``o`` of a layer computes ``s_o (W_o x + b_o - m_o) + t_o`` with the batch norm's scale ``s``, mean ``m`` and
shift ``t``, and so do the weights ``s_o W_o`` and the bias ``s_o (b_o - m_o) + t_o``. ``torch.nn.utils.fusion`` does
the same in float32, where predictions differ more from the network's own; here it is float64.
"""

from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from adrl_gym.layers import LayerSpec, QuantizedParams, is_plain, quantizable

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def remove_batch_norms(traced: fx.GraphModule, layers: Sequence[LayerSpec]) -> list[BatchNorm | None]:
    """Take those batch norms out of the graph that can be folded; return that of each layer, or ``None``.

    A norm can be folded where it is all that reads the layer's output, where the layer is used once, shares its
    weights with no other, and computes nothing but its formula.
    """
    norms: list[BatchNorm | None] = [None] * len(layers)
    modules = [quantizable(traced, layer) for layer in layers]
    calls: dict[Any, int] = {}
    for node in traced.graph.nodes:
        calls[node.target] = calls.get(node.target, 0) + 1
    owners: dict[int, int] = {}  # how many modules share a weight
    for module in traced.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for node in list(traced.graph.nodes):
        norm = traced.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(norm, BatchNorm) or norm.running_mean is None or len(node.args) != 1:
            continue
        before = node.args[0]
        index = next((i for i, layer in enumerate(layers) if before.target == layer.name), None)
        if before.op != "call_module" or index is None or len(before.users) > 1:
            continue
        if calls[before.target] > 1 or owners[id(modules[index].weight)] > 1 or not is_plain(modules[index]):
            continue
        # (B, O, H, W) or (B, O): only there is the channel that the norm scales the layer's output channel.
        conv = isinstance(modules[index], nn.Conv2d)
        flat = isinstance(modules[index], nn.Linear) and layers[index].macs == layers[index].parameters
        if conv != isinstance(norm, nn.BatchNorm2d) or not (conv or flat):
            continue
        norms[index] = norm
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    return norms


def fold_batch_norm(params: QuantizedParams, norm: BatchNorm | None) -> QuantizedParams:
    """Return the layer's parameters with the batch norm in weight and bias; computed in float64, float32."""
    if norm is None:
        return params
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (O,)
    if norm.affine:
        scale = scale * norm.weight.double()  # (O,)
    bias = -norm.running_mean.double() if params.bias is None else params.bias - norm.running_mean.double()  # (O,)
    bias = bias * scale + norm.bias if norm.affine else bias * scale  # (O,)
    weight = params.weight * scale.view(-1, *[1] * (params.weight.dim() - 1))  # (O, ...)
    return params._replace(weight=weight.float(), bias=bias.float())
