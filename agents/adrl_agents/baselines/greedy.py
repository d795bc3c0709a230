"""Greedy bit allocation on the sensitivity table."""

from typing import Unpack

import numpy as np

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import TableSettings, table_of
from adrl_gym import QuantProblem
from adrl_gym.sensitivity import SensitivityTable, combined_sizes


def greedy(problem: QuantProblem, **settings: Unpack[TableSettings]) -> Proposals:
    """Propose one configuration: see ``allocate``."""
    table = table_of(problem, **settings)
    yield table.bits(allocate(table))


def allocate(table: SensitivityTable) -> np.ndarray:
    """Return columns ``(n,)``: take bits away one by one, where that costs least for what it saves of the budget.

    Once the configuration fits, the rest of the budget goes to the bits that gain the most for what they take.
    Source: greedy bit allocation (Gersho and Gray, "Vector Quantization and Signal Compression", 1992, chapter 8), from
    above as in Pandey et al., "A Practical Mixed Precision Algorithm for Post-Training Quantization", 2023.

    >>> costs = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 0.0]])
    >>> sizes = np.array([[[10, 20, 30], [10, 20, 30]]])
    >>> allocate(SensitivityTable(costs, sizes, allowed=[40], min_bits=1))
    array([1, 1])
    """
    layers = np.arange(len(table.costs))
    columns = np.full(len(layers), table.costs.shape[1] - 1)  # (n,)
    for step in (-1, 1):
        while True:
            left = table.allowed - table.size(columns)  # (limits,)
            if step < 0 and (left >= 0).all():
                break
            after = np.clip(columns + step, 0, table.costs.shape[1] - 1)  # (n,)
            sizes = table.sizes_at(columns)  # (limits, n, widths)
            combined = combined_sizes(sizes, table.allowed)  # (n, widths)
            change = sizes[:, layers, after] - sizes[:, layers, columns]  # (limits, n)
            possible = (after != columns) & ((step < 0) | (change <= left[:, None])).all(axis=0)  # (n,)
            cost = table.costs[layers, after] - table.costs[layers, columns]  # (n,) added; below 0 is a gain
            worth = possible if step < 0 else possible & (cost < 0)  # (n,)
            if not worth.any():
                break
            # Down: the least cost for what is saved. Up: the most gain for what is spent. Both have the least rate.
            amount = step * (combined[layers, after] - combined[layers, columns])  # (n,)
            rate = np.where(worth, cost / np.maximum(amount, 1), np.inf)  # (n,)
            columns[rate.argmin()] += step
    return columns
