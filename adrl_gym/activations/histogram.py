"""A histogram of one layer's inputs that grows with them, in bounded memory."""

import math

import torch
from torch import Tensor

_BINS = 2**14  # on each side of zero: after the last doubling at least half of them are in use
_LOWEST_EXPONENT = -112  # of the largest magnitude: below, bins would be narrower than float32 allows


class ActivationHistogram:
    """Counts of values in bins of equal width, a power of two; all values ever seen have their bin.

    When a value lies beyond the last bin, the bins' width is doubled, as often as needed, and neighbours are merged.

    Attributes:
        lowest, highest: smallest and largest value; infinite before the first.
        count: values seen.
        finite: ``False`` once a NaN or an infinity was seen, which is not counted.
    """

    def __init__(self) -> None:
        self.lowest, self.highest = math.inf, -math.inf
        self.count, self.finite = 0, True
        self._exponent = _LOWEST_EXPONENT  # all magnitudes are below two to the power of it
        self._counts = torch.zeros(2 * _BINS, dtype=torch.int64)  # on the CPU

    def add(self, x: Tensor) -> None:
        """Count the values of a tensor of any shape and device."""
        if x.numel() == 0:
            return
        x = x.detach().float().flatten()  # (N,)
        lowest, highest = (float(end) for end in x.aminmax())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            self.finite = False
            return
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self._widen(max(-lowest, highest))
        self.count += x.numel()
        places = (x * (_BINS / 2.0**self._exponent)).floor_().long().add_(_BINS)  # (N,)
        self._counts += torch.bincount(places, minlength=2 * _BINS).cpu()

    def values(self) -> tuple[Tensor, Tensor]:
        """Return the centres of the bins that are not empty, rising, and their counts; ``(K,)`` float64 each."""
        filled = self._counts.nonzero()[:, 0]  # (K,)
        width = 2.0**self._exponent / _BINS
        return (filled.double() - _BINS + 0.5) * width, self._counts[filled].double()

    def _widen(self, magnitude: float) -> None:
        """Let the bins reach beyond a magnitude."""
        exponent = max(self._exponent, math.frexp(magnitude)[1] if magnitude else self._exponent)
        for _ in range(exponent - self._exponent if self.count else 0):
            merged = self._counts.view(-1, 2).sum(1)  # (BINS,)
            self._counts = torch.zeros_like(self._counts)  # (2 BINS,)
            self._counts[_BINS // 2 : -_BINS // 2] = merged
        self._exponent = exponent
