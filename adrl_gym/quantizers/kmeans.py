"""A codebook of ``2 ** bits`` values for a whole layer: k-means in one dimension, as HAQ's weights are stored.

Lloyd's algorithm on the sorted weights. A cluster is then a range of them, cumulative sums give its centroid, and a
turn costs ``O(2^bits log weights)``. It starts once from even spacing (Deep Compression, Han et al. 2016) and once from
the clusters of one bit less, each cut in two (Linde, Buzo and Gray 1980); the better result is kept. The second
start is the reason why the squared error never grows with the bits. From 6 bits on it also halves the error:
even spacing wastes entries on ranges where hardly any weights are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_TURNS = 100
_ROUNDS = 8


def kmeans(weight: Tensor, bits: Sequence[int]) -> dict[int, Tensor]:
    """Replace every weight by the nearest of at most ``2 ** bits`` values.

    Weights of no more than ``2 ** bits`` different values come back bit for bit. Deterministic.

    Args:
        weight: any shape, float32, finite.
        bits: bit-widths from 1 to 8.

    Returns:
        Bit-width -> tensor like ``weight``.

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
    """Weights in rising order. Clusters are given by their ``edges``: indices from 0 to N, rising, ``(K + 1,)``."""

    def __init__(self, weight: Tensor) -> None:
        self.values = weight.flatten().sort().values  # (N,)
        none = torch.zeros(1, dtype=torch.float64, device=weight.device)
        self.sums = torch.cat([none, self.values.cumsum(0, dtype=torch.float64)])  # (N + 1,)
        self.squares = torch.cat([none, self.values.double().square().cumsum(0)])  # (N + 1,)

    def centroids(self, edges: Tensor) -> Tensor:
        """Means of the clusters, ``(K,)`` float32, and exact where all weights of a cluster are the same."""
        first, last = self.values[edges[:-1]], self.values[edges[1:] - 1]  # (K,)
        mean = (self.sums[edges].diff() / edges.diff()).float()  # (K,)
        return mean.clamp(first, last)

    def even(self, clusters: int) -> Tensor:
        """Edges in even distances from the smallest to the largest weight; empty clusters are left out."""
        ends = self.values[[0, -1]].tolist()
        inner = torch.linspace(*ends, clusters + 1, device=self.values.device)[1:-1]
        return self._edges(torch.searchsorted(self.values, inner))

    def distinct(self) -> Tensor:
        """A cluster for every different value."""
        return self._edges((self.values[1:] != self.values[:-1]).nonzero().flatten() + 1)

    def lloyd(self, edges: Tensor, clusters: int) -> Tensor:
        """Better edges of as many as ``clusters`` clusters; the squared error never grows."""
        for _ in range(_ROUNDS):
            before, edges = edges, self.move(self.cut(edges, clusters))
            if torch.equal(before, edges):
                break
        return edges

    def cut(self, edges: Tensor, clusters: int) -> Tensor:
        """Cut clusters at their centroids, those of largest squared error first, until there are ``clusters``."""
        first, last = self.values[edges[:-1]], self.values[edges[1:] - 1]  # (K,)
        error = torch.where(first < last, self._errors(edges), -torch.inf)  # equal weights cannot be cut
        count = min(clusters - len(error), int((first < last).sum()))
        chosen = error.topk(count).indices  # (count,)
        at = self.centroids(edges)[chosen]  # (count,)
        at = torch.where(at < last[chosen], at, first[chosen])
        return self._edges(torch.cat([edges, torch.searchsorted(self.values, at, right=True)]))

    def move(self, edges: Tensor) -> Tensor:
        """Move the edges to the midpoints between centroids until they stay; emptied clusters vanish."""
        for _ in range(_TURNS):
            centroids = self.centroids(edges)  # (K,)
            low, high = centroids[:-1], centroids[1:]  # (K - 1,)
            middle = low / 2 + high / 2
            middle = torch.where(middle < high, middle, low)  # neighbouring floats have nothing in between
            moved = self._edges(torch.searchsorted(self.values, middle, right=True))
            if torch.equal(moved, edges):
                break
            edges = moved
        return edges

    def squared_error(self, edges: Tensor) -> float:
        """Sum over all weights."""
        return self._errors(edges).sum().item()

    def replace(self, weight: Tensor, edges: Tensor) -> Tensor:
        """Every weight by the centroid of its cluster."""
        cluster = torch.bucketize(weight, self.values[edges[1:-1]], right=True)
        return self.centroids(edges)[cluster]

    def _edges(self, inner: Tensor) -> Tensor:
        ends = torch.tensor([0, len(self.values)], device=inner.device)
        return torch.cat([ends, inner]).unique()  # sorted

    def _errors(self, edges: Tensor) -> Tensor:
        return self.squares[edges].diff() - self.sums[edges].diff().square() / edges.diff()  # (K,)
