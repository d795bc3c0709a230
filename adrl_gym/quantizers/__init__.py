"""From a layer's float weights to its quantized ones. Pure functions of tensors.

- ``linear``: nearest level, step of least squared error for each output channel.
- ``kmeans``: nearest value of a codebook for the whole layer (HAQ).
- ``gptq``: error-compensating rounding to the levels of ``linear``, from the second moments of the layer's inputs.

All return float32 weights for a plain forward pass. ``linear`` and ``gptq`` are exactly a float32 step for each output
channel times ``levels``, ``kmeans`` has at most ``2 ** bits`` values a layer: nothing is lost for packing them later.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantizers.correction import bias_correction
from adrl_gym.quantizers.gptq import gptq
from adrl_gym.quantizers.kmeans import kmeans
from adrl_gym.quantizers.levels import MOST_BITS, levels
from adrl_gym.quantizers.linear import linear
from adrl_gym.quantizers.moments import Moments, collect_moments

QUANTIZERS = ("gptq", "linear", "kmeans")

__all__ = ["QUANTIZERS", "Moments", "bias_correction", "collect_moments", "levels", "quantize"]


@torch.no_grad()
def quantize(
    weight: Tensor,
    bits: Sequence[int],
    quantizer: str,
    *,
    second_moment: Tensor | None = None,
    layer: str = "?",
) -> dict[int, Tensor]:
    """Quantize one layer's weight to several bit-widths, each by itself.

    Args:
        weight: ``(O, I / G, kH, kW)`` or ``(O, I)``.
        bits: bit-widths from 1 to 8.
        quantizer: one of ``QUANTIZERS``.
        second_moment: ``(G, J, J)``, ``J = I / G kH kW``, of the layer's inputs; ``gptq`` needs it, the others do not.
        layer: its name, for messages.

    Returns:
        Bit-width -> float32 tensor like ``weight``, in the order of ``bits``.

    Raises:
        AdrlGymError: unknown quantizer, a bit-width outside 1 to 8, NaN or infinity, moments of another shape.

    >>> quantize(torch.tensor([[1.0, -1.0], [0.5, 0.4]]), [1], "linear")
    {1: tensor([[ 1.0000, -1.0000],
            [ 0.4500,  0.4500]])}
    """
    if quantizer not in QUANTIZERS:
        raise AdrlGymError(f"unknown quantizer {quantizer!r}; there are {', '.join(QUANTIZERS)}")
    for b in bits:
        if b not in range(1, MOST_BITS + 1):
            raise AdrlGymError(f"layer {layer}: {b!r} is no bit-width, it takes an integer from 1 to {MOST_BITS}")
    if not weight.isfinite().all():
        raise AdrlGymError(f"layer {layer}: its weights hold NaN or infinity; use another checkpoint")
    matrix = weight.detach().float().flatten(1)  # (O, J)
    if quantizer == "gptq":
        quantized = gptq(matrix, bits, _checked_moment(second_moment, matrix, layer))
    else:
        quantized = {"linear": linear, "kmeans": kmeans}[quantizer](matrix, bits)
    return {b: quantized[b].reshape(weight.shape) for b in bits}


def _checked_moment(second_moment: Tensor | None, matrix: Tensor, layer: str) -> Tensor:
    if second_moment is None:
        raise AdrlGymError(f"layer {layer}: gptq needs the second moments of its inputs, see collect_moments")
    outputs, inputs = matrix.shape
    groups = len(second_moment)
    if second_moment.shape != (groups, inputs, inputs) or groups == 0 or outputs % groups:
        raise AdrlGymError(
            f"layer {layer}: second moments of shape {tuple(second_moment.shape)} do not fit a weight of {outputs} "
            f"outputs and {inputs} inputs in each group; are they of another layer?"
        )
    if not second_moment.isfinite().all():
        raise AdrlGymError(f"layer {layer}: the moments of its inputs hold NaN or infinity; check the images")
    return second_moment
