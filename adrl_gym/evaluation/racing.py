"""Stop comparing configurations when the answer is clear."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

# Shares of the images after which the candidates are looked at again.
LOOKS = (0.1, 0.2, 0.4, 1.0)

#: ``costs(candidates, begin, end)``: of each candidate on each of these images, ``(m, end - begin)``.
Costs = Callable[[Sequence[int], int, int], np.ndarray]


def race(
    costs: Costs, offsets: Sequence[float], images: int, error_rate: float, *, unit: float = 0.0, step: int = 1
) -> list[float]:
    """Mean costs plus offsets of those candidates that may still be the cheapest, infinity of the others.

    All candidates run on the same images, a share at a time; after each, a candidate drops out where a paired test says
    that it is dearer than the cheapest so far (Moore & Lee 1994, "Efficient Algorithms for Minimizing Cross Validation
    Error": racing with blocking). The test is Student's, taken as normal, one-sided; ``error_rate`` is the probability
    that the cheapest one on all images drops out, shared out over candidates and looks (Bonferroni).

    Args:
        costs: of candidates on images.
        offsets: known part of each candidate's cost; infinite for one that is out of the question.
        images: how many there are.
        error_rate: 0 to run all candidates on all images.
        unit: smallest difference that one image can make, where costs are counts.
        step: looks are taken at multiples of so many images.

    >>> table = np.array([[0.0, 1.0] * 50, [3.0, 4.0] * 50, [0.5, 0.5] * 50])
    >>> race(lambda c, begin, end: table[c, begin:end], [0.0, 0.0, 0.0], 100, error_rate=0.01)
    [0.5, inf, 0.5]
    """
    alive = [i for i, offset in enumerate(offsets) if offset < math.inf]
    if not alive:
        return [math.inf] * len(offsets)
    seen = np.zeros((len(offsets), 0))  # (m, images seen)
    ends = looks(images, error_rate if len(alive) > 1 else 0.0, step)
    for end in ends:
        begin = seen.shape[1]
        seen = np.concatenate([seen, np.full((len(offsets), end - begin), np.nan)], axis=1)
        seen[alive, begin:] = costs(alive, begin, end)
        if end < images:
            alive = _survivors(seen, offsets, alive, error_rate / (len(offsets) * (len(ends) - 1)), unit)
            if len(alive) == 1:
                break
    return [float(seen[i].mean()) + offset if i in alive else math.inf for i, offset in enumerate(offsets)]


def looks(images: int, error_rate: float, step: int) -> list[int]:
    """After how many images candidates are looked at again, in multiples of ``step``; the last is all of them.

    >>> looks(1000, 0.05, 50)
    [100, 200, 400, 1000]
    """
    shares = LOOKS if error_rate > 0 else (1.0,)
    return sorted({min(images, step * math.ceil(share * images / step)) for share in shares})


def _survivors(
    seen: np.ndarray, offsets: Sequence[float], alive: Sequence[int], error_rate: float, unit: float
) -> list[int]:
    totals = seen[alive].mean(axis=1) + np.array([offsets[i] for i in alive])  # (m,)
    leader = alive[int(totals.argmin())]
    bound = NormalDist().inv_cdf(1 - error_rate)  # standard errors
    survivors = []
    for i in alive:
        margin, error = paired(seen[i] - seen[leader], unit)
        if i == leader or margin + offsets[i] - offsets[leader] <= bound * error:
            survivors.append(i)
    return survivors


def paired(differences: np.ndarray, unit: float = 0.0) -> tuple[float, float]:
    """Mean of paired differences ``(N,)`` and its standard error.

    Two more images count for the error, on which the two differ by as much as on any, at least by ``unit``, once this
    way and once that: a handful of equal images is no proof of equality.
    """
    count = len(differences)
    largest = float(np.abs(differences).max(initial=unit))
    variance = (float(((differences - differences.mean()) ** 2).sum()) + 2 * largest**2) / (count + 1)
    return float(differences.mean()), math.sqrt(variance / count)
