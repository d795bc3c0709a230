"""Quantize a layer so that it gives the float layer's outputs from other inputs than the float layer gets.

In a quantized network a layer's inputs ``x_q`` are no longer the float network's ``x``. The mean squared error of its
output is ``E|W x - V x_q|^2``, of the centred inputs where a bias makes up for the means. It is the sum of what no
weights can mend and of ``(V - W*) H (V - W*)'``, with ``H = E[x_q x_q']`` and ``W* = W E[x x_q'] H^-1``, the weights of
least squares. So ``V`` is ``W*`` rounded against the moments ``H``, as ``gptq`` rounds ``W`` against those of ``x``.
"""

import torch
from torch import Tensor

from adrl_gym.quantizers.levels import nonzero

RIDGE = 0.01  # of the mean of the diagonal of H


class Inputs:
    """Moments of one layer's inputs in the float and in the quantized network, in each of ``G`` groups.

    Args:
        floats: ``(P, G, J)``, what meets the ``J`` weights of an output channel at ``P`` positions.
        quantized: the same at the same positions in the quantized network.
        centred: whether a bias makes up for the means; if not, they count as errors like any other.
    """

    def __init__(self, floats: Tensor, quantized: Tensor, centred: bool) -> None:
        means = (x.mean(0) if centred else torch.zeros_like(x[0]) for x in (floats, quantized))
        self.mean, self.mean_quantized = means  # (G, J) each
        x = (floats - self.mean).movedim(0, 2)  # (G, J, P)
        x_q = (quantized - self.mean_quantized).movedim(0, 1)  # (G, P, J)
        self.cross = x @ x_q / len(floats)  # (G, J, J)
        self.second = x_q.mT @ x_q / len(floats)  # (G, J, J)

    def least_squares(self, weight: Tensor, ridge: float = RIDGE) -> Tensor:
        """``W*`` of a weight ``(O, ...)``: the weights that give its outputs best from the quantized network's inputs.

        Ridge regression towards ``W``: directions in which there are hardly any inputs keep the weights they had.
        ``W* = W (E[x x_q'] + lambda I) (H + lambda I)^-1``.
        """
        groups, inputs = self.mean.shape
        matrix = weight.reshape(groups, -1, inputs).double()  # (G, O/G, J)
        second = self.second.double()  # (G, J, J)
        strength = ridge * nonzero(second.diagonal(dim1=1, dim2=2).mean(1))[:, None, None]  # (G, 1, 1)
        damping = strength * torch.eye(inputs, dtype=second.dtype, device=second.device)  # (G, J, J)
        wanted = matrix @ (self.cross.double() + damping)  # (G, O/G, J)
        found = torch.cholesky_solve(wanted.mT, torch.linalg.cholesky(second + damping))  # (G, J, O/G)
        return found.mT.to(weight).reshape(weight.shape)

    def shift(self, weight: Tensor, quantized: Tensor) -> Tensor:
        """What to add to the bias so that the mean output stays the same: ``W E[x] - W_q E[x_q]``, ``(O,)``."""
        return _outputs(weight, self.mean) - _outputs(quantized, self.mean_quantized)


def _outputs(weight: Tensor, x: Tensor) -> Tensor:
    """Of a layer with ``weight`` ``(O, ...)`` for one input ``(G, J)``: ``(O,)``."""
    groups, inputs = x.shape
    return (weight.reshape(groups, -1, inputs) @ x[:, :, None]).flatten()
