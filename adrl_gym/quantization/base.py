"""The interface of every quantizer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantization.grid import MOST_BITS
from adrl_gym.quantization.shortcuts import Gram


class Quantizer(ABC):
    """A rule that turns a float weight into a quantized one of the same shape.

    A quantized weight is float32, for a plain forward pass. With ``codebook``, a layer has at most ``2 ** bits``
    different values; without it, each output channel is exactly a float32 scale times ``grid.levels(bits)``. So
    integer codes can be recovered later without loss (``codes.encode``).

    A new quantizer is one file with a subclass, and an entry in ``QUANTIZERS``.

    Attributes:
        name: how users and files name it.
        needs_hessian: whether ``round`` uses the Hessian of the layer's least-squares problem.
        takes_gram: whether ``round`` takes it as a ``Gram`` too, where there are few samples; if not, as a tensor.
        codebook: whether weights are entries of a codebook instead of scales times levels.
    """

    name: ClassVar[str]
    needs_hessian: ClassVar[bool] = False
    takes_gram: ClassVar[bool] = False
    codebook: ClassVar[bool] = False

    @abstractmethod
    def round(self, matrix: Tensor, bits: Sequence[int], hessian: Tensor | Gram | None) -> dict[int, Tensor]:
        """Quantize a matrix at several bit-widths; each result is as if it were made alone.

        Args:
            matrix: ``(O, J)`` float32, finite; one row for each output channel.
            bits: bit-widths from 1 to 8.
            hessian: ``(G, J, J)`` where ``needs_hessian``, or a ``Gram`` where ``takes_gram`` too; else ``None``.

        Returns:
            Bit-width -> ``(O, J)`` float32.
        """

    @torch.no_grad()
    def quantize(
        self, weight: Tensor, bits: Sequence[int], *, hessian: Tensor | Gram | None = None, layer: str = "?"
    ) -> dict[int, Tensor]:
        """Quantize one layer's weight at several bit-widths, each as if it were made alone.

        Args:
            weight: ``(O, I / G, kH, kW)`` or ``(O, I)``.
            bits: at least one bit-width from 1 to 8.
            hessian: ``(G, J, J)``, ``J = I / G kH kW``, see ``InputStatistics``; ignored unless ``needs_hessian``.
            layer: its name, for messages.

        Returns:
            Bit-width -> contiguous float32 tensor of the weight's shape, in the order of ``bits``.

        Raises:
            AdrlGymError: a bit-width out of range, NaN or infinity, the Hessian of another layer.
        """
        for b in bits:
            if b not in range(1, MOST_BITS + 1):
                raise AdrlGymError(f"layer {layer}: {b!r} is no bit-width; choose one from 1 to {MOST_BITS}")
        check_finite(weight, layer)
        matrix = weight.detach().float().flatten(1).contiguous()  # (O, J)
        checked = self._checked(hessian, matrix, layer) if self.needs_hessian else None
        quantized = self.round(matrix, bits, checked)
        # Where strides differ, PyTorch adds up in another order, and logits are no longer the same bit for bit.
        return {b: quantized[b].reshape(weight.shape).contiguous() for b in bits}

    def _checked(self, hessian: Tensor | Gram | None, matrix: Tensor, layer: str) -> Tensor | Gram:
        """Return ``hessian`` if it can be that of the layer with weight ``matrix`` ``(O, J)``."""
        if hessian is None:
            raise AdrlGymError(f"layer {layer}: {self.name} needs the Hessian of its inputs, see collect_inputs")
        outputs, inputs = matrix.shape
        groups = hessian.shape[0]
        if hessian.shape != (groups, inputs, inputs) or groups == 0 or outputs % groups:
            raise AdrlGymError(
                f"layer {layer}: a Hessian {tuple(hessian.shape)} does not fit its {outputs} outputs "
                f"with {inputs} weights each; give that of the same layer"
            )
        if not (hessian.finite() if isinstance(hessian, Gram) else hessian.isfinite().all()):
            raise AdrlGymError(f"layer {layer}: the Hessian of its inputs holds NaN or infinity; check the images")
        if isinstance(hessian, Gram) and not self.takes_gram:
            hessian = hessian.dense()
        return hessian.to(matrix)


def check_finite(weight: Tensor, layer: str) -> None:
    """Raise ``AdrlGymError`` where a layer's weight holds NaN or infinity."""
    if not weight.isfinite().all():
        raise AdrlGymError(f"layer {layer}: its weights hold NaN or infinity; take another checkpoint")
