"""The Hessian of a layer with far more inputs than samples of them, kept as the samples."""

from dataclasses import dataclass

from torch import Tensor

_INPUTS = 4096  # from which samples are kept; below, results stay what they were bit for bit


def few_samples(samples: int, inputs: int) -> bool:
    """Return ``True`` if samples ``(P, J)`` serve better than their Hessian ``(J, J)``."""
    return inputs >= _INPUTS and inputs >= 2 * samples


@dataclass(frozen=True)
class Gram:
    """A Hessian ``rows' rows + ridge I`` of one group, ``(1, J, J)``.

    Attributes:
        rows: ``(P, J)`` float32, inputs over the root of their number.
        ridge: what is added to the diagonal, at least 0.
    """

    rows: Tensor
    ridge: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the dense Hessian, ``(1, J, J)``."""
        return 1, self.rows.shape[1], self.rows.shape[1]

    def finite(self) -> bool:
        """Return ``True`` if it holds no NaN or infinity."""
        return bool(self.rows.isfinite().all())

    def centred(self, mean: Tensor) -> "Gram":
        """Return the Hessian of the same inputs without their mean ``(J,)``."""
        return Gram(self.rows - mean / len(self.rows) ** 0.5, self.ridge)

    def to(self, like: Tensor) -> "Gram":
        """Return the same of the dtype and on the device of a tensor."""
        return Gram(self.rows.to(like), self.ridge)

    def dense(self) -> Tensor:
        """Return the Hessian, ``(1, J, J)``."""
        hessian = self.rows.mT @ self.rows  # (J, J)
        hessian.diagonal().add_(self.ridge)
        return hessian[None]
