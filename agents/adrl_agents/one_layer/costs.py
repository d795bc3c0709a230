"""Measure what each layer alone costs at each bit-width."""

import math
from statistics import NormalDist

import numpy as np
from tqdm import tqdm

from adrl_agents.one_layer.table import LayerTable
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.evaluation import Score, looks, paired

TOLERANCE = 0.02  # share of the best configuration's cost that an entry must promise to be worth more images


def one_layer_costs(
    problem: QuantProblem, score: Score, images: int, *, error_rate: float = 0.0, most: float = math.inf
) -> np.ndarray:
    """Costs of every searched layer at every bit-width, all others float; ``(n, widths)``.

    All entries run on the same images, a share at a time. After each share, the best configuration within the budget
    is found by integer programming on the costs so far, and so is the best one with each entry in it: how much dearer
    that one is, is the entry's gap (Chen et al. 2014, "Combinatorial Pure Exploration of Multi-Armed Bandits",
    definition of the gap). Entries that by a paired test promise no gain above ``TOLERANCE`` see no more images: the
    configuration does not hang on them.

    Args:
        problem: to profile.
        score: of the costs.
        images: at most how many search images.
        error_rate: of all tests together; 0 gives every entry all images.
        most: evaluations that the table may take.

    Raises:
        AdrlGymError: it takes more than ``most``.
    """
    n, widths = len(problem.free), problem.highest - problem.lowest + 1
    images = min(images, problem.images)
    seen = np.full((n, widths, images), np.nan)
    alive = np.ones((n, widths), dtype=bool)
    before, begin, ends = problem.evaluations, 0, looks(images, error_rate, problem.slice_size)
    with tqdm(total=n * widths * images, desc="profiling layers", leave=False, disable=None, unit=" images") as bar:
        for end in ends:
            for layer in range(n):
                chosen = [w for w in range(widths) if alive[layer, w]]
                alone = [[None] * layer + [problem.lowest + w] + [None] * (n - layer - 1) for w in chosen]
                if chosen:
                    configurations = [problem.with_kept(bits) for bits in alone]
                    seen[layer, chosen, begin:end] = problem.costs(configurations, score, begin, end)
                if problem.evaluations - before > most:
                    raise AdrlGymError(
                        f"measuring every layer alone takes more than the {most:g} evaluations that may be spent on "
                        "it: raise --evaluations, or lower --profile-images"
                    )
            bar.update(n * widths * (end - begin))
            if end < images:
                alive &= _undecided(problem, seen, end, error_rate / (n * widths * (len(ends) - 1)))
            begin = end
    return np.asarray(np.nanmean(seen, axis=2))


def _undecided(problem: QuantProblem, seen: np.ndarray, end: int, error_rate: float) -> np.ndarray:
    """Which entries may still make a better configuration, ``(n, widths)``, after ``end`` images."""
    means = np.nanmean(seen[:, :, :end], axis=2)  # (n, widths)
    completion = LayerTable(problem, means).completion
    best = np.array(completion.complete(())) - problem.lowest  # (n,) widths
    slack = TOLERANCE * float(means[np.arange(len(means)), best].sum())
    bound = NormalDist().inv_cdf(1 - error_rate)  # standard errors
    undecided = np.zeros(means.shape, dtype=bool)
    for layer in range(len(means)):
        for width, bits in enumerate(completion.best_with(layer)):
            if bits is None:
                continue
            other = np.array(bits) - problem.lowest  # (n,) widths
            (changed,) = np.nonzero(other != best)
            gaps = (seen[changed, other[changed], :end] - seen[changed, best[changed], :end]).sum(axis=0)  # (end,)
            margin, error = paired(gaps[~np.isnan(gaps)])  # an entry that was left out has seen fewer images
            undecided[layer, width] = margin + slack <= bound * error
    return undecided
