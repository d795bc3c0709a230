"""Choose the grid of a layer's input from the histogram of its values."""

from typing import Literal, get_args

import torch
from torch import Tensor

from adrl_gym.activations.histogram import ActivationHistogram
from adrl_gym.layers import ActivationGrid

ActivationRange = Literal["mse", "percentile", "minmax"]  # how the range of a grid is chosen
ACTIVATION_RANGES: tuple[ActivationRange, ...] = get_args(ActivationRange)
PERCENTILE = 99.99  # of the values; as many in percent are clipped at either end at most

_SCALES = 64  # tried for each zero point, ...
_RATIO = 0.93  # ... each so much smaller than the one before: the smallest is a hundredth of the largest
_ZERO_POINTS = 16  # tried over all that there are; then all around the best of them


def choose_grid(histogram: ActivationHistogram, bits: int, method: ActivationRange) -> ActivationGrid:
    """Return the grid whose range suits the values in a histogram.

    Args:
        histogram: of at least two different values, all finite.
        bits: from 2 to 8.
        method: ``mse`` minimises the mean squared error over scales and zero points; ``percentile`` leaves out
            ``100 - PERCENTILE`` percent at either end; ``minmax`` covers all values.
    """
    lowest, highest = histogram.lowest, histogram.highest
    if method == "mse":
        return _least_error(histogram, bits)
    if method == "percentile":
        values, counts = histogram.values()  # (K,) each
        below = counts.cumsum(0) / counts.sum()  # (K,)
        ends = torch.tensor([1 - PERCENTILE / 100, PERCENTILE / 100], dtype=torch.float64)  # (2,)
        places = torch.searchsorted(below, ends).clamp_max(len(values) - 1)  # (2,)
        inner = [float(value) for value in values[places]]
        lowest, highest = max(lowest, inner[0]), min(highest, inner[1])
        if max(highest, 0.0) == min(lowest, 0.0):  # nearly all values are zero
            lowest, highest = histogram.lowest, histogram.highest
    return _covering(lowest, highest, bits)


def relative_error(histogram: ActivationHistogram, grid: ActivationGrid) -> float:
    """Return the squared error of the values in a histogram on a grid, over the values' squares."""
    values, counts = histogram.values()  # (K,) each
    errors = (values - grid.quantize(values)).square()  # (K,)
    return float((errors * counts).sum() / (values.square() * counts).sum())


def _covering(lowest: float, highest: float, bits: int) -> ActivationGrid:
    """Return the grid from the one value to the other, zero included."""
    lowest, highest, steps = min(lowest, 0.0), max(highest, 0.0), 2**bits - 1
    scale = (highest - lowest) / steps
    return ActivationGrid(bits, scale, min(steps, max(0, round(-lowest / scale))))


def _least_error(histogram: ActivationHistogram, bits: int) -> ActivationGrid:
    """Return the grid of least squared error: first some zero points and scales, then those around the best."""
    lowest, highest, steps = min(histogram.lowest, 0.0), max(histogram.highest, 0.0), 2**bits - 1
    errors = _Errors(histogram)
    if lowest == 0 or highest == 0:
        stride, zero_points = 1, [0 if lowest == 0 else steps]
    else:
        stride = max(1, 2**bits // _ZERO_POINTS)
        zero_points = [*range(0, steps, stride), steps]
    falling = _RATIO ** torch.arange(_SCALES, dtype=torch.float64)  # (S,)
    trials = []
    for zero_point in zero_points:
        above, below = highest / max(1, steps - zero_point), -lowest / max(1, zero_point)
        trials.append(errors.best(max(above, below) * falling, zero_point, steps))
    _, scale, best = min(trials)
    around = torch.logspace(-1, 1, 2 * _SCALES + 1, base=1 / _RATIO, dtype=torch.float64)  # (2 S + 1,)
    near = range(best - stride + 1, best + stride) if stride > 1 else [best]
    fine = [errors.best(scale * around, z, steps) for z in near if 0 <= z <= steps]
    _, scale, zero_point = min(fine)
    return ActivationGrid(bits, scale, zero_point)


class _Errors:
    """Squared errors of grids on the values of a histogram, from sums over the values up to each bin."""

    def __init__(self, histogram: ActivationHistogram) -> None:
        self._values, counts = histogram.values()  # (K,) each
        powers = torch.stack([counts, counts * self._values, counts * self._values.square()])  # (3, K)
        self._sums = torch.cat([torch.zeros(3, 1, dtype=torch.float64), powers.cumsum(1)], dim=1)  # (3, K + 1)

    def best(self, scales: Tensor, zero_point: int, steps: int) -> tuple[float, float, int]:
        """Return the least squared error of scales ``(S,)`` at a zero point, its scale, and the zero point."""
        levels = torch.arange(-zero_point, steps - zero_point + 1, dtype=torch.float64)  # (L,)
        borders = scales[:, None] * (levels[:-1] + 0.5)  # (S, L - 1)
        places = torch.searchsorted(self._values, borders)  # (S, L - 1)
        ends = torch.nn.functional.pad(places, (1, 0))  # (S, L): the first level begins at the first bin
        ends = torch.nn.functional.pad(ends, (0, 1), value=len(self._values))  # (S, L + 1)
        count, total, square = self._sums[:, ends].diff(dim=2)  # (S, L) each: of the values that round to each level
        reached = scales[:, None] * levels  # (S, L)
        error = (square - 2 * reached * total + reached.square() * count).sum(1)  # (S,)
        place = int(error.argmin())
        return float(error[place]), float(scales[place]), zero_point
