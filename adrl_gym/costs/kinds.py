"""The cost of each kind for a network's layers."""

import dataclasses
from collections.abc import Sequence

from adrl_gym.costs.budget import KINDS
from adrl_gym.costs.cost import WIDTHS, AdditiveCost
from adrl_gym.costs.size import FLOAT_BITS, size_cost
from adrl_gym.costs.table import CostTable
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import LayerSpec, peak_activations


def cost_of(
    kind: str, layers: Sequence[LayerSpec], activation_bits: Sequence[int], table: CostTable | None = None
) -> AdditiveCost:
    """Return the cost of a kind, over the float network's.

    - ``size``: weight bits.
    - ``bitops``: multiply-accumulates x weight bits x activation bits (HAQ, section 4; Yang and Jin, FracBits, 2021).
    - ``memory``: weight bits plus the bits of the largest input and output that a layer holds at once. The activation
      bits fix the latter, so the weights get what is left of the limit.
    - ``latency``, ``energy``: sums over the layers' entries of a table.

    Args:
        kind: a key of ``KINDS``.
        layers: of the network, in forward order.
        activation_bits: of each layer's input; 32 is float.
        table: for latency and energy.

    Raises:
        AdrlGymError: no table where one is needed, or one that lacks a layer.
    """
    parameters = [layer.parameters for layer in layers]
    bits = sorted(set(activation_bits))
    condition = "float activations" if bits == [FLOAT_BITS] else f"activations of {' and '.join(map(str, bits))} bits"
    if kind == "size":
        return size_cost(parameters)
    if kind == "bitops":
        entries = tuple(
            tuple(layer.macs * b * a for b in WIDTHS) for layer, a in zip(layers, activation_bits, strict=True)
        )
        whole = sum(layer.macs for layer in layers) * FLOAT_BITS * FLOAT_BITS
        return AdditiveCost(kind, entries, whole, condition=condition)
    if kind == "memory":
        size, peak = size_cost(parameters), peak_activations(layers)
        rest = peak * max(bits)
        return AdditiveCost(kind, size.entries, size.whole + FLOAT_BITS * peak, rest, condition)
    assert kind in KINDS
    if table is None:
        raise AdrlGymError(
            f"a budget of {kind} needs a table of the hardware: give cost_table, a CSV file as adrl-gym latency-table "
            "writes it",
            parameter="cost_table",
        )
    return table.cost(kind, layers, activation_bits, condition)


def searched_cost(
    kind: str, layers: Sequence[LayerSpec], inputs: Sequence[tuple[int, ...]], table: CostTable | None = None
) -> AdditiveCost:
    """Return the cost of a kind where the bits of the layers' inputs are decisions too; see ``cost_of``.

    The memory of activations is that at their most bits.

    Args:
        kind: a key of ``KINDS``.
        layers: of the network, in forward order.
        inputs: for each layer, the bit-widths that its input can have, rising.
        table: for latency and energy.
    """
    widths = sorted({width for own in inputs for width in own})
    costs = {
        width: cost_of(kind, layers, [width if width in own else own[-1] for own in inputs], table) for width in widths
    }
    entries = tuple(
        tuple(entry for width in own for entry in costs[width].entries[layer]) for layer, own in enumerate(inputs)
    )
    searched = next((own for own in inputs if len(own) > 1), inputs[0])
    condition = f"activations of {searched[0]} bits"  # the fewest, of which messages speak
    return dataclasses.replace(costs[widths[-1]], entries=entries, condition=condition, inputs=tuple(inputs))
