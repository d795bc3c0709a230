"""Local search from integer programming's answer."""

from collections.abc import Iterator
from typing import Unpack

import numpy as np

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.baselines.table import TableSettings, table_of
from adrl_agents.runs import rank
from adrl_gym import QuantProblem
from adrl_gym.sensitivity import SensitivityTable


def local(problem: QuantProblem, **settings: Unpack[TableSettings]) -> Proposals:
    """Swap bits between layers as long as it helps.

    The neighbours of the incumbent are measured on the whole network, in the order of their costs in the table. The
    first that is better becomes the incumbent. The search ends when no neighbour is better.
    """
    table = table_of(problem, **settings)
    best = table.columns(table.solve())  # (n,)
    tried = {table.bits(best)}
    least = rank((yield table.bits(best)))
    better = True
    while better:
        better = False
        for columns in sorted(neighbours(table, best), key=table.cost):
            bits = table.bits(columns)
            if bits in tried:
                continue
            tried.add(bits)
            found = rank((yield bits))
            if found < least:
                best, least, better = columns, found, True
                break


def neighbours(table: SensitivityTable, columns: np.ndarray) -> Iterator[np.ndarray]:
    """Yield columns with one bit more in one layer, and fewer in one other where the budget asks.

    >>> sizes = np.array([[[10, 20, 30], [5, 10, 15]]])
    >>> table = SensitivityTable(np.zeros((2, 3)), sizes, allowed=[30], min_bits=1)
    >>> [table.bits(columns) for columns in neighbours(table, np.array([1, 1]))]
    [(1, 3)]
    """
    n, widths = table.costs.shape
    for up in range(n):
        if columns[up] + 1 == widths:
            continue
        raised = columns.copy()  # (n,)
        raised[up] += 1
        over = table.size(raised) - table.allowed  # (limits,)
        if (over <= 0).all():
            yield raised
            continue
        sizes = table.sizes_at(raised)  # (limits, n, widths)
        for down in range(n):
            most = sizes[:, down, raised[down]] - over  # (limits,)
            fits = np.flatnonzero((sizes[:, down] <= most[:, None]).all(axis=0))  # columns of down
            if down != up and len(fits):
                swapped = raised.copy()  # (n,)
                swapped[down] = fits[-1]
                yield swapped
