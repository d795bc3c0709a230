"""The picture of layer sensitivities: a cell for each searched layer and bit-width."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from adrl_agents.runs.plots import title
from adrl_agents.runs.result import SearchResult

_RANGE = 1e-5  # the smallest cost that is told apart, over the largest


def draw_sensitivity(
    result: SearchResult, costs: np.ndarray, names: Sequence[str], chosen: Sequence[int], min_bits: int
) -> Figure:
    """Draw the cost of each bit-width in each layer alone, and mark the bits of the best configuration.

    Args:
        result: of the search.
        costs: ``(n, widths)``, finite; nats of KL divergence or another score, the lower the better.
        names: of the ``n`` layers.
        chosen: their bits in the best configuration.
        min_bits: the bit-width of column 0.
    """
    n, widths = costs.shape
    largest = max(float(costs.max()), 1e-12)
    figure = Figure(figsize=(3.4 + 0.42 * widths, max(3.0, 1.6 + 0.2 * n)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        costs.clip(_RANGE * largest), aspect="auto", cmap="viridis", norm=LogNorm(_RANGE * largest, largest)
    )
    axes.plot([b - min_bits for b in chosen], range(n), "o", color="white", markersize=5, markeredgecolor="black")
    axes.set_xticks(range(widths), [str(min_bits + column) for column in range(widths)])
    axes.set_yticks(range(n), names, fontsize=7)
    axes.set_xlabel("bits (circle: best configuration)")
    figure.colorbar(image, ax=axes, label="cost of the layer alone")
    title(figure, result, "sensitivity of each layer, the others float")
    return figure
