"""Second-order expansion of the divergence in the layers' output errors, and what it says of configurations.

Quantizing layer ``l`` to ``b`` bits changes its output by ``e_lb = layer_b(x) - layer(x)``, and so, to first order, the
logits by ``J_l e_lb`` with the network's Jacobian ``J_l``. Let ``p`` be the float network's prediction, ``q`` the one
where the expansion begins (a configuration, or the float network itself), and ``F = diag(q) - q q'`` the Fisher
information of its logits. Then the divergence from ``p`` changes by

    KL(x) ~ (q - p)' d + 1/2 d' F d,    d = sum_l J_l e_l,b(l)

where ``J' F J`` is the Gauss-Newton matrix. At the float network ``q = p``, and the first term is zero. Let ``v`` be a
random vector of logits with ``E[v v'] = F``: then ``d' F d = E[(sum_l s_lb)^2]`` with ``s_lb = v' J_l e_lb``, the inner
product of a layer's output error with one backward pass's gradient. So a few passes hold all layers at all bit-widths:
the squares are a table of layers alone, the products are the interactions between layers.

A label drawn from ``q`` gives such a ``v``, the gradient of its log-likelihood by the logits. Random signs ``r`` give
another of less variance, ``v = sqrt(q) * r - q (sqrt(q) . r)``: a confident prediction hardly draws any label but one.

Sources: Fisher information as the curvature of the divergence (Amari 1998); Hessian traces as sensitivity of layers,
HAWQ-V2 (Dong et al., NeurIPS 2020); interactions between layers, CLADO (Deng et al. 2023); Gauss-Newton matrices
(Schraudolph 2002); random signs (Hutchinson 1989). Different here: a layer's own output error takes the place of a
trace, so that groups, shared weights, corrected biases and layers with a formula of their own need no rule; and the
expansion may begin at a quantized network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def fisher_vectors(logits: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Draw ``v`` with ``E[v v'] = diag(q) - q q'`` for every prediction ``q``.

    Args:
        logits: ``(B, K)``.
        draws: how many for each image.
        generator: of random signs, on the CPU, so that all devices draw the same.

    Returns:
        ``(draws, B, K)``.
    """
    q = logits.softmax(1)  # (B, K)
    signs = 2 * torch.randint(2, (draws, *q.shape), generator=generator).to(q) - 1  # (draws, B, K)
    scaled = q.sqrt() * signs  # (draws, B, K)
    return scaled - q * scaled.sum(2, keepdim=True)


@dataclass(frozen=True)
class Expansion:
    """Changes of the divergence, image by image, for every searched layer and bit-width.

    Attributes:
        first: ``(q - p)' J_l e_lb`` in nats, float32 ``(N, n, widths)``.
        second: ``s_lb`` for each draw, float32 ``(N, draws, n, widths)``.
        known: bit-widths that were expanded, bool ``(n, widths)``; the others hold zeros.
    """

    first: np.ndarray
    second: np.ndarray
    known: np.ndarray

    def costs(self) -> np.ndarray:
        """Return the mean change by each layer alone, float64 ``(n, widths)``; infinite where it is not known."""
        return np.where(self.known, self._alone().mean(0), np.inf)

    def errors(self) -> np.ndarray:
        """Return the standard errors over images of ``costs``, float64 ``(n, widths)``."""
        return self._alone().std(0) / np.sqrt(len(self.first))

    def interactions(self) -> np.ndarray:
        """Return the mean second-order change that each pair of layers adds, float64 ``(n, widths, n, widths)``.

        Each pair stands twice, at ``[l, :, m]`` and ``[m, :, l]``; zeros for a layer with itself, whose cost is in
        ``costs``, and for bit-widths that are not known.
        """
        n, widths = self.known.shape
        rows = self.second.reshape(-1, n * widths).astype(np.float64)  # (N * draws, entries)
        products: np.ndarray = (rows.T @ rows / (2 * len(rows))).reshape(n, widths, n, widths)
        products[np.arange(n), :, np.arange(n)] = 0
        return products

    def change(self, columns: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the mean change by a whole configuration, interactions included.

        Args:
            columns: ``(n,)``, each layer's bit-width as a column.
            weights: of the images ``(N,)``, with sum 1; without them, all alike.
        """
        layers = np.arange(len(columns))
        total = self.second[:, :, layers, columns].sum(2, dtype=np.float64)  # (N, draws)
        per_image = self.first[:, layers, columns].sum(1, dtype=np.float64) + 0.5 * (total**2).mean(1)  # (N,)
        return float(np.average(per_image, weights=weights))

    def costs_at(self, columns: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean further change by one layer, from a configuration; ``(n, widths)``, 0 at ``columns``.

        Arguments are as for ``change``.
        """
        layers = np.arange(len(columns))
        own = self.second[:, :, layers, columns].astype(np.float64)  # (N, draws, n)
        step = self.second - own[..., None]  # (N, draws, n, widths)
        total = own.sum(2)[:, :, None, None]  # (N, draws, 1, 1)
        first = self.first - self.first[:, layers, columns][..., None]  # (N, n, widths)
        per_image = first + (step * (total + 0.5 * step)).mean(1)  # (N, n, widths)
        return np.where(self.known, np.average(per_image, axis=0, weights=weights), np.inf)

    def _alone(self) -> np.ndarray:
        return self.first.astype(np.float64) + 0.5 * (self.second.astype(np.float64) ** 2).mean(1)  # (N, n, widths)
