"""Greedy bit allocation on the sensitivity table."""

from typing import Unpack

import numpy as np

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import TableSettings, table_of
from adrl_gym import QuantProblem
from adrl_gym.sensitivity import SensitivityTable


def greedy(problem: QuantProblem, **settings: Unpack[TableSettings]) -> Proposals:
    """Propose one configuration: see ``allocate``."""
    table = table_of(problem, **settings)
    yield table.bits(allocate(table))


def allocate(table: SensitivityTable) -> np.ndarray:
    """Return columns ``(n,)``: take bits away one by one, where that costs least per weight bit saved.

    Once the size fits, the rest of the budget goes to the bits that gain the most per weight bit.
    Source: greedy bit allocation (Gersho and Gray, "Vector Quantization and Signal Compression", 1992, chapter 8), from
    above as in Pandey et al., "A Practical Mixed Precision Algorithm for Post-Training Quantization", 2023.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 0.0]])
    >>> allocate(SensitivityTable(costs, [10, 10], allowed=40, min_bits=1))
    array([1, 1])
    """
    layers = np.arange(len(table.costs))
    columns = np.full(len(layers), table.costs.shape[1] - 1)  # (n,)
    for step in (-1, 1):
        while True:
            left = table.allowed - table.size(columns)
            if step < 0 and left >= 0:
                break
            after = np.clip(columns + step, 0, table.costs.shape[1] - 1)  # (n,)
            bits = step * (table.sizes[layers, after] - table.sizes[layers, columns])  # (n,) saved, or spent
            possible = (bits > 0) & (bits <= left if step > 0 else True)  # (n,)
            cost = table.costs[layers, after] - table.costs[layers, columns]  # (n,) added; below 0 is a gain
            worth = possible if step < 0 else possible & (cost < 0)  # (n,)
            if not worth.any():
                break
            # Down: the least cost for each bit saved. Up: the most gain for each bit spent. Both have the least rate.
            rate = np.where(worth, cost / np.maximum(bits, 1), np.inf)  # (n,)
            columns[rate.argmin()] += step
    return columns
