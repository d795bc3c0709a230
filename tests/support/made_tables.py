"""Cost tables of made-up hardware, whose latency depends on the weight bits, and budgets that rule out some bits."""

from collections.abc import Sequence
from pathlib import Path

from adrl_gym.costs import CostTable, TableRow, cost_of
from adrl_gym.layers import LayerSpec

KINDS_TOGETHER = [
    ("size",),
    ("bitops",),
    ("latency",),
    ("energy",),
    ("memory",),
    ("size", "latency"),
    ("size", "bitops", "energy"),
]


def made_table(layers: Sequence[LayerSpec], path: Path) -> Path:
    """Write a table in which b bits take b / 16 of float's milliseconds, and its square of the energy."""
    rows = {}
    for layer in layers:
        macs = layer.macs / layer.uses
        for b in (1, 2, 3, 4, 6, 8, 32):
            share = 1.0 if b == 32 else b / 16
            milliseconds, joules = 1e-3 * macs**0.7 * share, 1e-9 * macs * share**2
            rows[layer.signature, b] = TableRow(layer.signature, b, 32, milliseconds, joules)
    path.write_text(CostTable(tuple(rows.values())).to_csv())
    return path


def made_budget(
    layers: Sequence[LayerSpec], kinds: Sequence[str], table: Path, max_bits: int = 8, min_bits: int = 1
) -> dict[str, float]:
    """Limits at four tenths of the way from all layers at ``min_bits`` to all at ``max_bits``."""
    costs = [cost_of(kind, layers, [32] * len(layers), CostTable.load(table)) for kind in kinds]
    least, most = ([cost.ratio([b] * len(layers)) for cost in costs] for b in (min_bits, max_bits))
    return {kind: 0.6 * low + 0.4 * high for kind, low, high in zip(kinds, least, most, strict=True)}
