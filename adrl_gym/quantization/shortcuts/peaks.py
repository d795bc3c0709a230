"""The level at which the largest weight of a row should stand: where the search for its step begins.

Some fifty to hundred levels are tried at each bit-width. For long rows, bounds on their errors come first, and only
levels that can be the best are tried: the result is the same bit for bit. Weights between -1 and 1 are sorted into
bins. Rounding all weights of a bin to the level of its centre cannot give less than the least error. It gives more
only where a bin holds a boundary between two levels, and there by at most the width of the bin times a step. Sums over
bins are matrix products, whose other factor is the same for all rows.
"""

import torch
from torch import Tensor

from adrl_gym.quantization.grid import code_range, levels, nearest, nonzero, offset, round_in_place

_CLIPPING = tuple(1.06**i for i in range(1, 48))  # largest weight over the largest that has a level: up to 15
_BINS = 4096  # narrower than a step at 8 bits and the strongest clipping
_LONG = 2048  # weights in a row from which bounds pay
_ROWS = 64  # whose bounds are computed at a time
_MARGIN = 1e-3  # of an error: more than what float32 makes of it
_FLOOR = 1e-11  # the same for errors near zero, of what weights of one would have


def peak_levels(bits: int) -> list[float]:
    """Return the levels to try; beyond the last level of the grid, the largest weight is clipped."""
    largest = -levels(bits)[0].item()
    # Rows that are on a grid already have their largest weight at one of its levels. If that level is in the
    # lower half, they are also on the grid of half the step (4 bits and more) or of fewer bits (3 and less).
    peaks = [-level for level in levels(bits).tolist() if -2 * level >= largest][::-1]
    return peaks + [largest * clipping for clipping in _CLIPPING]


def best_peak_level(unit: Tensor, root: Tensor, bits: int, peaks: list[float]) -> Tensor:
    """Return the one of ``peaks`` with the least error for each row, ``(O, 1)`` float32.

    Args:
        unit: ``(O, J)``, rows divided by their largest absolute weight.
        root: ``(O, J)`` or ``(1, J)``, square root of the importance.
        bits: bit-width.
        peaks: some of ``peak_levels(bits)``, in that order.
    """
    shift, (lowest, highest) = offset(bits), code_range(bits)
    errors, x, level = [], torch.empty_like(unit), torch.empty_like(unit)
    for peak in peaks:
        torch.mul(unit, peak, out=x)  # (O, J) in steps
        # As ``nearest``, without what changes nothing.
        round_in_place(torch.sub(x, shift, out=level))
        if peak > highest + shift:
            level.clamp_(lowest, highest)
        x -= level.add_(shift) if shift else level
        errors.append(torch.linalg.vector_norm(x.mul_(root), dim=1) / peak)  # (O,)
    best = torch.stack(errors).argmin(0)  # (O,)
    return unit.new_tensor(peaks)[best, None]


class PossiblePeaks:
    """The peak levels that can be the best for rows of one layer.

    Args:
        highest: bit-widths are 1 to ``highest``.
        weight: ``(O, J)`` float32.
        importance: ``(O, J)`` of squared errors.
    """

    def __init__(self, highest: int, weight: Tensor, importance: Tensor) -> None:
        self._levels = [peak_levels(bits) for bits in range(1, highest + 1)]
        self._weight, self._importance = weight, importance
        self._bounds = _Bounds(self._levels, weight) if weight.shape[1] >= _LONG else None

    def of(self, rows: slice) -> list[list[float]]:
        """Return for each bit-width the peak levels to try in these rows."""
        if self._bounds is None:
            return self._levels
        parts = zip(self._weight[rows].split(_ROWS), self._importance[rows].split(_ROWS), strict=True)
        possible = iter(torch.cat([self._bounds.possible(*part) for part in parts]).any(0).tolist())
        return [[level for level in own if next(possible)] for own in self._levels]


class _Bounds:
    """Bounds on the errors of peak levels, those of all bit-widths side by side.

    Args:
        peaks: for 1, 2, ... bits.
        like: a tensor of the dtype and on the device of the rows.
    """

    def __init__(self, peaks: list[list[float]], like: Tensor) -> None:
        self._width = 2 / _BINS
        self._centres = (torch.arange(_BINS, device=like.device).to(like) + 0.5) * self._width - 1  # (N,)
        self._sizes = [len(own) for own in peaks]
        tables = [self._tables(bits, like.new_tensor(own)) for bits, own in enumerate(peaks, start=1)]
        self._squares, self._slopes, self._excess = torch.cat(tables, dim=2)  # (N, C) each

    def _tables(self, bits: int, peaks: Tensor) -> Tensor:
        """Return ``(3, N, C)`` for peak levels ``(C,)``, in units of the largest weight.

        They are squared errors of the centres, their derivatives, and the most that bins with a boundary lose.
        """
        centre, half = self._centres[:, None] * peaks, 0.51 * self._width * peaks  # (N, C) and (C,) in steps
        error = (centre - nearest(centre, bits)) / peaks  # (N, C)
        divided = nearest(centre - half, bits) != nearest(centre + half, bits)  # (N, C)
        return torch.stack([error.square(), 2 * error, divided * (2 * half / peaks.square())])

    def possible(self, weight: Tensor, importance: Tensor) -> Tensor:
        """Return which peak levels can be the best for rows ``(O, J)``, ``(O, C)`` bool."""
        rows, unit = len(weight), weight / nonzero(weight.abs().amax(1, keepdim=True))  # (O, J) in [-1, 1]
        bins = ((unit + 1) / self._width).long().clamp_(0, _BINS - 1)  # (O, J)
        beside = unit - self._centres[bins]  # (O, J)
        bins += _BINS * torch.arange(rows, device=unit.device)[:, None]
        first = importance * beside  # (O, J)
        zeroth, sums = (
            torch.bincount(bins.flatten(), x.flatten(), rows * _BINS).reshape(rows, _BINS) for x in (importance, first)
        )  # (O, N) each
        least = (first * beside).sum(1, keepdim=True)  # (O, 1)
        upper = torch.addmm(least, zeroth, self._squares).addmm_(sums, self._slopes)  # (O, C)
        lower = upper - zeroth @ self._excess  # (O, C)
        floor = _FLOOR * importance.sum(1, keepdim=True)  # (O, 1)
        best = [own.amin(1, keepdim=True).expand_as(own) for own in upper.split(self._sizes, dim=1)]
        return lower <= (1 + _MARGIN) * torch.cat(best, dim=1) + floor
