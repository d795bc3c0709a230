"""Quantize a layer so that it gives the float layer's outputs from other inputs than the float layer gets.

In a quantized network a layer's inputs ``x_q`` are no longer the float network's ``x``. Wanted are weights ``V`` of
least ``E|W x - V x_q|^2 + lambda |V - W|^2``, the inputs centred where a bias makes up for the means. With
``H = E[x_q x_q'] + lambda I`` and ``C = E[x x_q'] + lambda I`` that is the sum of what no weights can mend and of
``(V - W*) H (V - W*)'``, where ``W* = W C H^-1`` are the weights of least squares. So ``V`` is ``W*`` rounded
against the moments ``H``, just as ``gptq`` rounds ``W`` against those of ``x``.

``lambda`` keeps the weights as they were in directions that the few sampled inputs say little of.

Of ``P`` positions with ``J`` inputs each, ``H`` has rank ``P`` but for ``lambda``. Where ``P`` is far below ``J``, as
in the first linear layer after convolutions, ``W*`` comes from the ``P x P`` matrix ``K = X_q X_q' / P + lambda I``
instead, with the positions in rows: ``W* = W + W (X - X_q)' K^-1 X_q / P``. This dual form of ridge regression
(Saunders, Gammerman and Vovk 1998, "Ridge Regression Learning Algorithm in Dual Variables") is equal but for rounding.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from adrl_gym.quantization.grid import nonzero
from adrl_gym.quantization.refitting import gains
from adrl_gym.quantization.shortcuts import Gram, few_samples

RIDGES = (0.01, 0.1, 1.0, 10.0)  # lambda over the mean of the diagonal of ``E[x_q x_q']``


class _Moments(NamedTuple):
    """``E[x x_q']`` and ``E[x_q x_q']``, ``(G, J, J)`` each."""

    cross: Tensor
    second: Tensor

    def least_squares(self, weight: Tensor, ridge: float, dtype: torch.dtype) -> Tensor:
        """Return ``W*``, ``(G, O/G, J)`` as ``weight``, computed in ``dtype``."""
        wanted = weight.to(dtype) @ self._damped(self.cross, ridge).to(dtype)  # (G, O/G, J)
        factor = torch.linalg.cholesky(self.hessian(ridge).to(dtype))  # (G, J, J)
        return torch.cholesky_solve(wanted.mT, factor).mT.to(weight)

    def error(self, weight: Tensor, other: Tensor) -> float:
        """Return ``E|W x - V x_q|^2`` of the weights ``(G, O/G, J)``, up to a constant."""
        return float((other * (other @ self.second - 2 * (weight @ self.cross))).sum())

    def hessian(self, ridge: float) -> Tensor:
        """Return ``H``, ``(G, J, J)``."""
        return self._damped(self.second, ridge)

    def _damped(self, moments: Tensor, ridge: float) -> Tensor:
        """Return ``moments`` ``(G, J, J)`` with ``lambda`` on their diagonal."""
        damped = moments.clone()
        damped.diagonal(dim1=1, dim2=2).add_(ridge * _unit(self.second.diagonal(dim1=1, dim2=2)))
        return damped


class _Samples(NamedTuple):
    """The same as ``_Moments`` from the inputs themselves, in the dual form.

    Attributes:
        floats: ``X``, ``(G, P, J)``, centred.
        quantized: ``X_q``, ``(G, P, J)``, centred.
        total: what sums over positions are divided by.
    """

    floats: Tensor
    quantized: Tensor
    total: int

    def least_squares(self, weight: Tensor, ridge: float, dtype: torch.dtype) -> Tensor:
        """Return ``W*``, ``(G, O/G, J)`` as ``weight``, computed in ``dtype``."""
        x, x_q, rows = (t.to(dtype) for t in (self.floats, self.quantized, weight))
        kernel = x_q @ x_q.mT / self.total  # (G, P, P)
        kernel.diagonal(dim1=1, dim2=2).add_(ridge * _unit(self._power().to(dtype)))
        lost = (x - x_q) @ rows.mT  # (G, P, O/G)
        dual = torch.cholesky_solve(lost, torch.linalg.cholesky(kernel))  # (G, P, O/G)
        return torch.baddbmm(rows, dual.mT, x_q, alpha=1 / self.total).to(weight)

    def error(self, weight: Tensor, other: Tensor) -> float:
        """Return ``E|W x - V x_q|^2`` of the weights ``(G, O/G, J)``."""
        difference = self.floats @ weight.mT - self.quantized @ other.mT  # (G, P, O/G)
        return float(difference.square().sum()) / self.total

    def hessian(self, ridge: float) -> Tensor | Gram:
        """Return ``H``, ``(G, J, J)``."""
        unit = _unit(self._power())  # (G, 1)
        if len(unit) == 1:
            return Gram(self.quantized[0] / self.total**0.5, ridge * float(unit))
        hessian = self.quantized.mT @ self.quantized / self.total  # (G, J, J)
        hessian.diagonal(dim1=1, dim2=2).add_(ridge * unit)
        return hessian

    def _power(self) -> Tensor:
        """Return the diagonal of ``E[x_q x_q']``, ``(G, J)``."""
        return self.quantized.square().sum(1) / self.total


class Inputs:
    """Inputs of one layer in the float and in the quantized network.

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
        x, x_q = floats - means[0], quantized - means[1]  # (P, G, J) each
        self._x, self._x_q = x, x_q
        half = -(-len(x) // 2)
        halves = list(zip(x.split(half), x_q.split(half), strict=True))
        self._halves: Sequence[_Moments | _Samples]
        self._whole: _Moments | _Samples
        if few_samples(len(x), x.shape[2]):
            self._halves = [_samples(*parts, len(x)) for parts in halves]
            self._whole = _samples(x, x_q, len(x))
        else:
            self._halves = moments = [_moments(*parts, len(x)) for parts in halves]
            self._whole = _Moments(*(reduce(torch.add, parts) for parts in zip(*moments, strict=True)))
        self.finite = all(bool(part.isfinite().all()) for part in self._whole[:2])

    def target(self, weight: Tensor) -> tuple[Tensor, Tensor | Gram]:
        """``W*`` in the shape of the layer's ``weight`` ``(O, ...)``, and ``H`` ``(G, J, J)`` to round it against."""
        grouped = weight.reshape(len(self._mean), -1, self._mean.shape[1])  # (G, O/G, J)
        ridge = self._ridge(grouped)
        wanted = self._whole.least_squares(grouped, ridge, torch.float64)  # (G, O/G, J)
        return wanted.reshape(weight.shape), self._whole.hessian(ridge)

    def shift(self, weight: Tensor, quantized: Tensor) -> Tensor:
        """Return the change of the bias that keeps the mean output: ``W E[x] - W_q E[x_q]``, ``(O,)``."""
        return _outputs(weight, self._mean) - _outputs(quantized, self._mean_quantized)

    def gain(self, weight: Tensor, quantized: Tensor) -> Tensor:
        """Return the factors ``(O,)`` that give outputs the power that those of the float layer have."""
        powers = [_outputs_at(weight, self._x), _outputs_at(quantized, self._x_q)]  # (G, P, O/G) each
        return gains(*(y.square().sum(1).flatten() for y in powers))

    def _ridge(self, weight: Tensor) -> float:
        """The ridge whose ``W*`` of one half of the inputs does best on the other half (two-fold cross-validation)."""
        if len(self._halves) < 2:
            return RIDGES[-1]
        errors = {
            ridge: sum(
                other.error(weight, half.least_squares(weight, ridge, torch.float32))
                for half, other in (self._halves, self._halves[::-1])
            )
            for ridge in RIDGES
        }
        return min(RIDGES, key=lambda ridge: errors[ridge])


def _unit(diagonal: Tensor) -> Tensor:
    """Return the mean ``(G, 1)`` of a diagonal ``(G, J)``; 1 for 0."""
    return nonzero(diagonal.mean(1, keepdim=True))


def _samples(x: Tensor, x_q: Tensor, count: int) -> _Samples:
    """Return the moments of ``(P, G, J)`` each, as parts of means over ``count`` positions."""
    return _Samples(x.movedim(0, 1), x_q.movedim(0, 1), count)


def _moments(x: Tensor, x_q: Tensor, count: int) -> _Moments:
    """Return the moments of ``(P, G, J)`` each, as parts of means over ``count`` positions."""
    return _Moments(*(part.permute(1, 2, 0) @ x_q.movedim(0, 1) / count for part in (x, x_q)))


def _outputs_at(weight: Tensor, x: Tensor) -> Tensor:
    """Return the outputs ``(G, P, O/G)`` of a layer with ``weight`` ``(O, ...)`` for inputs ``(P, G, J)``."""
    return x.movedim(0, 1) @ weight.reshape(x.shape[1], -1, x.shape[2]).mT


def _outputs(weight: Tensor, x: Tensor) -> Tensor:
    """Return the output ``(O,)`` of a layer with ``weight`` ``(O, ...)`` for one input ``(G, J)``."""
    groups, inputs = x.shape
    return (weight.reshape(groups, -1, inputs) @ x[:, :, None]).flatten()
