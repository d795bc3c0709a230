"""The feedback from errors of earlier inputs to later ones, for error-compensating rounding (``gptq``).

With ``H = R R'`` and an upper triangular ``R``, input ``j`` gets ``sum_{i<j} e_i R_ij / R_jj``. Of a Hessian
``d I + Z' Z`` from ``P`` samples that is ``(sum_{i<j} e_i z_i)' w_j``, with ``w_j = C_j z_j / (d + z_j' C_j z_j)`` and
``C_j = (I + sum_{k>j} z_k z_k' / d)^-1``: ``R`` eliminates inputs from the last to the first, and what is left of
``H`` has always that form (Woodbury). So ``P x P`` matrices replace ``J x J`` ones.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Pass(Protocol):
    """Errors made so far in one pass over the inputs."""

    def before(self, start: int, stop: int) -> Tensor:
        """Return what errors of the inputs before ``start`` add to those up to ``stop``, ``(G, stop - start, R)``."""

    def errors(self, start: int, stop: int) -> Tensor:
        """Return where to write the errors of these inputs, ``(G, stop - start, R)``."""

    def done(self, start: int, stop: int) -> None:
        """Count the errors of these inputs for later ones."""


class Dense(NamedTuple):
    """Feedback as a matrix, ``(G, J, J)``: ``R_ij / R_jj`` at ``[:, j, i]``."""

    matrix: Tensor

    @property
    def block(self) -> int:
        """Number of inputs rounded between two calls of ``before``."""
        return 128

    def within(self, start: int, stop: int) -> Tensor:
        """Return the feedback among inputs of a block, ``(G, stop - start, stop - start)``."""
        return self.matrix[:, start:stop, start:stop]

    def begin(self, rows: int) -> Pass:
        """Begin a pass for ``rows`` output channels of each group."""
        return _DensePass(self.matrix, self.matrix.new_empty(*self.matrix.shape[:2], rows))


class _DensePass(NamedTuple):
    matrix: Tensor
    all_errors: Tensor  # (G, J, R)

    def before(self, start: int, stop: int) -> Tensor:
        return self.matrix[:, start:stop, :start] @ self.all_errors[:, :start]

    def errors(self, start: int, stop: int) -> Tensor:
        return self.all_errors[:, start:stop]

    def done(self, start: int, stop: int) -> None:
        """Nothing to do: errors of all inputs are kept."""


class Factored(NamedTuple):
    """Feedback of one group from ``P`` samples.

    Attributes:
        samples: ``Z``, ``(1, P, J)``.
        weights: ``w_j``, ``(1, P, J)``.
        blocks: feedback within each block of inputs, ``(1, block, block)`` each.
    """

    samples: Tensor
    weights: Tensor
    blocks: list[Tensor]

    @property
    def block(self) -> int:
        """Number of inputs rounded between two calls of ``before``."""
        return len(self.blocks[0][0])

    def within(self, start: int, stop: int) -> Tensor:
        """Return the feedback among inputs of a block, ``(1, stop - start, stop - start)``."""
        return self.blocks[start // self.block]

    def begin(self, rows: int) -> Pass:
        """Begin a pass for ``rows`` output channels."""
        summed = self.samples.new_zeros(1, self.samples.shape[1], rows)
        return _FactoredPass(self, summed, summed.new_empty(1, self.block, rows))


class _FactoredPass(NamedTuple):
    feedback: Factored
    summed: Tensor  # (1, P, R): errors times samples
    latest: Tensor  # (1, block, R): errors of one block

    def before(self, start: int, stop: int) -> Tensor:
        return self.feedback.weights[:, :, start:stop].mT @ self.summed

    def errors(self, start: int, stop: int) -> Tensor:
        return self.latest[:, : stop - start]

    def done(self, start: int, stop: int) -> None:
        self.summed.baddbmm_(self.feedback.samples[:, :, start:stop], self.errors(start, stop))


def factor(samples: Tensor, damping: float, block: int = 32) -> Factored:
    """Return the feedback of ``damping I + samples' samples``, from samples ``(P, J)`` in float64."""
    inverse = torch.eye(len(samples), dtype=samples.dtype, device=samples.device)  # C, (P, P)
    weights, blocks = torch.empty_like(samples), []
    for start in reversed(range(0, samples.shape[1], block)):
        here = samples[:, start : start + block]  # (P, b)
        met = inverse @ here  # (P, b)
        left = here.mT @ met  # (b, b)
        left.diagonal().add_(damping)
        upper = torch.linalg.cholesky(left.flip(0, 1)).flip(0, 1)  # (b, b), left = upper upper'
        column = torch.linalg.solve_triangular(upper, met.mT, upper=True).mT  # (P, b)
        weights[:, start : start + block] = column / upper.diagonal()
        blocks.append((upper / upper.diagonal()).mT.float().contiguous()[None])
        inverse = inverse - column @ column.mT
    return Factored(samples.float()[None], weights.float()[None], blocks[::-1])
