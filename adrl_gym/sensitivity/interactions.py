"""Interactions between layers: bits that minimise a quadratic model of the divergence under a budget."""

import numpy as np

from adrl_gym.sensitivity.table import SensitivityTable

_LEAST_GAIN = 1e-12  # nats: descents end below it


def minimise_pairwise(table: SensitivityTable, interactions: np.ndarray) -> np.ndarray:
    """Return the columns ``(n,)`` at which no change of one or two layers makes the quadratic model better.

    The model of columns ``c`` is ``sum_l costs[l, c_l] + sum_{l != m} interactions[l, c_l, m, c_m]``. The descent
    begins at the knapsack's answer on the costs alone, and takes the best change of all that meet the budget (cf.
    CLADO, Deng et al. 2023, which solves it as a quadratic program). Some milliseconds for 40 layers.

    Args:
        table: costs and budget.
        interactions: symmetric ``(n, widths, n, widths)``, in the costs' unit (see ``Expansion.interactions``).
    """
    n, widths = table.costs.shape
    layers = np.arange(n)
    same = np.broadcast_to(np.eye(n, dtype=bool)[:, None, :, None], (n, widths, n, widths))
    columns = table.columns(table.knapsack.complete(()))  # (n,)
    while True:
        towards = interactions[:, :, layers, columns]  # (n, widths, n)
        own = towards[layers, columns]  # (n, n)
        slope = table.costs + 2 * towards.sum(2)  # (n, widths)
        alone = slope - slope[layers, columns][:, None]  # (n, widths), what changing one layer changes
        both = interactions - towards[..., None] - towards.transpose(2, 0, 1)[:, None] + own[:, None, :, None]
        change = alone[:, :, None, None] + alone + 2 * both  # (n, widths, n, widths)
        change[same] = np.inf
        left = table.allowed - table.size(columns)  # (limits,)
        more = table.sizes - table.sizes[:, layers, columns][..., None]  # (limits, n, widths)
        for of_limit, room in zip(more, left, strict=True):
            change[of_limit[:, :, None, None] + of_limit > room] = np.inf
        best = np.unravel_index(int(change.argmin()), change.shape)
        if not change[best] < -_LEAST_GAIN:
            return columns
        columns[best[0]], columns[best[2]] = best[1], best[3]
