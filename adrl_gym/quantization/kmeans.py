"""A codebook of ``2 ** bits`` values for a whole layer: k-means in one dimension, as in HAQ.

Lloyd's algorithm on the sorted weights: a cluster is a range of them, cumulative sums give its centroid,
and a turn costs ``O(2^bits log weights)``. It starts once from even spacing (Deep Compression, Han et al.
2016) and once from the clusters of one bit less, cut in two (Linde, Buzo and Gray 1980); the better result
is kept. The second start is why the squared error never grows with the bits. It also halves the error from
6 bits on, because even spacing wastes entries where hardly any weights are.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.shortcuts import Gram

_TURNS = 100  # of Lloyd's algorithm between two cuts
_CUTS = 8  # rounds of cutting; more than one only because Lloyd's algorithm may empty a cluster


class KMeans(Quantizer):
    """Values of a codebook for the whole layer, as in HAQ: ``kmeans``."""

    name: ClassVar[str] = "kmeans"
    codebook: ClassVar[bool] = True

    def round(self, matrix: Tensor, bits: Sequence[int], hessian: Tensor | Gram | None) -> dict[int, Tensor]:
        """See ``Quantizer``."""
        return kmeans(matrix, bits)


def kmeans(weight: Tensor, bits: Sequence[int]) -> dict[int, Tensor]:
    """Replace every weight by the nearest of at most ``2 ** bits`` values.

    A layer of at most ``2 ** bits`` different weights comes back bit for bit. Nothing is random.

    Args:
        weight: any shape, float32, finite.
        bits: bit-widths from 1 to 8.

    Returns:
        Bit-width -> tensor of the same shape.

    >>> kmeans(torch.tensor([1.0, 2.0, 9.0, 10.0]), [1, 2])
    {1: tensor([1.5000, 1.5000, 9.5000, 9.5000]), 2: tensor([ 1.,  2.,  9., 10.])}
    """
    ranked = _Sorted(weight)
    distinct, edges, found = ranked.distinct(), ranked.even(1), {}
    for b in range(1, max(bits) + 1):
        if len(distinct) <= 2**b + 1:
            edges = distinct
        else:
            tried = [ranked.lloyd(start, 2**b) for start in (edges, ranked.even(2**b))]
            edges = min(tried, key=ranked.squared_error)
        if b in bits:
            found[b] = ranked.replace(weight, edges)
    return {b: found[b] for b in bits}


class _Sorted:
    """``N`` weights in rising order. ``K`` clusters are given by ``K + 1`` rising indices, their edges."""

    def __init__(self, weight: Tensor) -> None:
        self.values = weight.flatten().sort().values  # (N,)
        none = torch.zeros(1, dtype=torch.float64, device=weight.device)
        self.sums = torch.cat([none, self.values.cumsum(0, dtype=torch.float64)])  # (N + 1,)
        self.squares = torch.cat([none, self.values.double().square_().cumsum(0)])  # (N + 1,)

    def distinct(self) -> Tensor:
        """A cluster for every different value."""
        return self._edges((self.values[1:] != self.values[:-1]).nonzero().flatten() + 1)

    def even(self, clusters: int) -> Tensor:
        """Edges evenly spaced between the smallest and the largest weight; empty clusters are left out."""
        smallest, largest = self.values[0], self.values[-1]
        inner = torch.linspace(0, 1, clusters + 1, device=self.values.device)[1:-1]
        return self._edges(torch.searchsorted(self.values, smallest.lerp(largest, inner)))

    def lloyd(self, edges: Tensor, clusters: int) -> Tensor:
        """Better edges of as many as ``clusters`` clusters; the squared error never grows."""
        for _ in range(_CUTS):
            before, edges = edges, self.move(self.cut(edges, clusters))
            if torch.equal(before, edges):
                break
        return edges

    def cut(self, edges: Tensor, clusters: int) -> Tensor:
        """Cut clusters at their centroids, largest squared errors first, until there are ``clusters``."""
        first, last = self.values[edges[:-1]], self.values[edges[1:] - 1]  # (K,)
        errors = torch.where(first < last, self._errors(edges), -torch.inf)  # equal weights cannot be cut
        count = min(clusters - len(errors), int((first < last).sum()))
        chosen = errors.topk(count).indices  # (count,)
        at = self.centroids(edges)[chosen]  # (count,)
        at = torch.where(at < last[chosen], at, first[chosen])
        return self._edges(torch.cat([edges, torch.searchsorted(self.values, at, right=True)]))

    def move(self, edges: Tensor) -> Tensor:
        """Move the edges to the middles between centroids until they stay; emptied clusters vanish."""
        for _ in range(_TURNS):
            centroids = self.centroids(edges)  # (K,)
            low, high = centroids[:-1], centroids[1:]  # (K - 1,)
            middle = low / 2 + high / 2
            middle = torch.where(middle < high, middle, low)  # between neighbouring floats is nothing
            moved = self._edges(torch.searchsorted(self.values, middle, right=True))
            if torch.equal(moved, edges):
                break
            edges = moved
        return edges

    def squared_error(self, edges: Tensor) -> float:
        """Sum over all weights."""
        return float(self._errors(edges).sum())

    def centroids(self, edges: Tensor) -> Tensor:
        """Means of the clusters, ``(K,)`` float32, exact where all weights of a cluster are the same."""
        first, last = self.values[edges[:-1]], self.values[edges[1:] - 1]  # (K,)
        return (self.sums[edges].diff() / edges.diff()).float().clamp(first, last)

    def replace(self, weight: Tensor, edges: Tensor) -> Tensor:
        """Every weight by the centroid of its cluster."""
        cluster = torch.bucketize(weight, self.values[edges[1:-1]], right=True)
        return self.centroids(edges)[cluster]

    def _edges(self, inner: Tensor) -> Tensor:
        """Indices as edges: in order, each once, with both ends."""
        ends = torch.tensor([0, len(self.values)], device=inner.device)
        return torch.unique(torch.cat([ends, inner]))

    def _errors(self, edges: Tensor) -> Tensor:
        """Squared error of each cluster, ``(K,)`` float64."""
        return self.squares[edges].diff() - self.sums[edges].diff().square() / edges.diff()
