"""Quantize a layer so that it gives the float layer's outputs from other inputs than the float layer gets.

In a quantized network a layer's inputs ``x_q`` are no longer the float network's ``x``. Wanted are weights ``V`` of
least ``E|W x - V x_q|^2 + lambda |V - W|^2``, the inputs centred where a bias makes up for the means. With
``H = E[x_q x_q'] + lambda I`` and ``C = E[x x_q'] + lambda I`` that is the sum of what no weights can mend and of
``(V - W*) H (V - W*)'``, where ``W* = W C H^-1`` are the weights of least squares. So ``V`` is ``W*`` rounded
against the moments ``H``, just as ``gptq`` rounds ``W`` against those of ``x``.

``lambda`` keeps the weights as they were in directions that the few sampled inputs say little of.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from adrl_gym.quantization.grid import nonzero

RIDGES = (0.01, 0.1, 1.0, 10.0)  # lambda over the mean of the moments' diagonal


class _Moments(NamedTuple):
    """``E[x x_q']`` and ``E[x_q x_q']``, ``(G, J, J)`` each."""

    cross: Tensor
    second: Tensor

    def with_ridge(self, ridge: float) -> "_Moments":
        """``C`` and ``H``."""
        unit = nonzero(self.second.diagonal(dim1=1, dim2=2).mean(1))[:, None, None]  # (G, 1, 1)
        damping = ridge * unit * torch.eye(self.second.shape[1], device=self.second.device)  # (G, J, J)
        return _Moments(self.cross + damping, self.second + damping)

    def least_squares(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """``W*``, ``(G, O/G, J)`` as ``weight``, computed in ``dtype``."""
        wanted = weight.to(dtype) @ self.cross.to(dtype)  # (G, O/G, J)
        found = torch.cholesky_solve(wanted.mT, torch.linalg.cholesky(self.second.to(dtype)))  # (G, J, O/G)
        return found.mT.to(weight)

    def error(self, weight: Tensor, other: Tensor) -> float:
        """``E|W x - V x_q|^2`` of the weights ``(G, O/G, J)``, up to a constant."""
        return float((other * (other @ self.second - 2 * (weight @ self.cross))).sum())


class Inputs:
    """What one layer gets in the float and in the quantized network.

    Args:
        floats: ``(P, G, J)``: at ``P`` positions, in each of ``G`` groups, what meets the ``J`` weights of an output
            channel.
        quantized: the same at the same positions in the quantized network.
        centred: whether a bias makes up for the means; if not, they count as errors like any other.

    Attributes:
        finite: whether there is no NaN or infinity among them.
    """

    def __init__(self, floats: Tensor, quantized: Tensor, centred: bool) -> None:
        means = [x.mean(0) if centred else torch.zeros_like(x[0]) for x in (floats, quantized)]
        self._mean, self._mean_quantized = means  # (G, J) each
        half = -(-len(floats) // 2)
        halves = zip((floats - means[0]).split(half), (quantized - means[1]).split(half), strict=True)
        self._halves = [_moments(x, x_q, len(floats)) for x, x_q in halves]
        self._whole = _Moments(*(torch.stack(parts).sum(0) for parts in zip(*self._halves, strict=True)))
        self.finite = all(bool(moments.isfinite().all()) for moments in self._whole)

    def target(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """``W*`` in the shape of the layer's ``weight`` ``(O, ...)``, and ``H`` ``(G, J, J)`` to round it against."""
        grouped = weight.reshape(len(self._mean), -1, self._mean.shape[1])  # (G, O/G, J)
        moments = self._whole.with_ridge(self._ridge(grouped))
        return moments.least_squares(grouped, torch.float64).reshape(weight.shape), moments.second

    def shift(self, weight: Tensor, quantized: Tensor) -> Tensor:
        """What to add to the bias so that the mean output stays the same: ``W E[x] - W_q E[x_q]``, ``(O,)``."""
        return _outputs(weight, self._mean) - _outputs(quantized, self._mean_quantized)

    def _ridge(self, weight: Tensor) -> float:
        """The ridge whose ``W*`` of one half of the inputs does best on the other half (two-fold cross-validation)."""
        if len(self._halves) < 2:
            return RIDGES[-1]
        errors = {
            ridge: sum(
                other.error(weight, half.with_ridge(ridge).least_squares(weight, torch.float32))
                for half, other in (self._halves, self._halves[::-1])
            )
            for ridge in RIDGES
        }
        return min(RIDGES, key=lambda ridge: errors[ridge])


def _moments(x: Tensor, x_q: Tensor, count: int) -> _Moments:
    """Of ``(P, G, J)`` each, as parts of means over ``count`` positions."""
    return _Moments(*(part.permute(1, 2, 0) @ x_q.movedim(0, 1) / count for part in (x, x_q)))


def _outputs(weight: Tensor, x: Tensor) -> Tensor:
    """Of a layer with ``weight`` ``(O, ...)`` for one input ``(G, J)``: ``(O,)``."""
    groups, inputs = x.shape
    return (weight.reshape(groups, -1, inputs) @ x[:, :, None]).flatten()
