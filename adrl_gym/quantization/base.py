"""From a layer's float weights to its quantized ones. Pure functions of tensors.

- ``linear``: nearest level, step of least squared error for each output channel.
- ``kmeans``: nearest value of a codebook for the whole layer (HAQ).
- ``gptq``: error-compensating rounding to levels, from the second moments of the layer's inputs.

All return float32 weights for a plain forward pass. A row of ``linear`` or ``gptq`` is exactly a float32
step times ``levels``, a layer of ``kmeans`` has at most ``2 ** bits`` values: nothing is lost for packing
them later.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantization import gptq, kmeans, linear
from adrl_gym.quantization.grid import MOST_BITS

QUANTIZERS = ("gptq", "linear", "kmeans")
NEED_SECOND_MOMENTS = ("gptq",)


@torch.no_grad()
def quantize(
    weight: Tensor,
    bits: Sequence[int],
    quantizer: str,
    *,
    second_moment: Tensor | None = None,
    layer: str = "?",
) -> dict[int, Tensor]:
    """One layer's weight at several bit-widths, each as if it were made alone.

    Args:
        weight: ``(O, I / G, kH, kW)`` or ``(O, I)``.
        bits: at least one bit-width from 1 to 8.
        quantizer: one of ``QUANTIZERS``.
        second_moment: ``(G, J, J)``, ``J = I / G kH kW``, of the layer's inputs; only ``NEED_SECOND_MOMENTS`` do.
        layer: its name, for messages.

    Returns:
        Bit-width -> contiguous float32 tensor of the weight's shape, in the order of ``bits``.

    Raises:
        AdrlGymError: unknown quantizer, bit-width out of range, NaN or infinity, moments of another layer.

    >>> quantize(torch.tensor([[1.0, -1.0], [0.5, 0.4]]), [1], "linear")
    {1: tensor([[ 1.0000, -1.0000],
            [ 0.4500,  0.4500]])}
    """
    if quantizer not in QUANTIZERS:
        raise AdrlGymError(f"unknown quantizer {quantizer!r}; choose one of {', '.join(QUANTIZERS)}")
    for b in bits:
        if b not in range(1, MOST_BITS + 1):
            raise AdrlGymError(f"layer {layer}: {b!r} is no bit-width; choose one from 1 to {MOST_BITS}")
    if not weight.isfinite().all():
        raise AdrlGymError(f"layer {layer}: its weights hold NaN or infinity; take another checkpoint")
    matrix = weight.detach().float().flatten(1)  # (O, J)
    if quantizer == "linear":
        quantized = linear.linear(matrix, bits)
    elif quantizer == "kmeans":
        quantized = kmeans.kmeans(matrix, bits)
    else:
        quantized = gptq.gptq(matrix, bits, _checked(second_moment, matrix, layer))
    # Where strides differ, PyTorch adds up in another order, and logits are no longer the same bit for bit.
    return {b: q.reshape(weight.shape).contiguous() for b, q in quantized.items()}


def _checked(second_moment: Tensor | None, matrix: Tensor, layer: str) -> Tensor:
    """``second_moment``, if it can be that of the layer with weight ``matrix`` ``(O, J)``."""
    if second_moment is None:
        raise AdrlGymError(f"layer {layer}: gptq needs the second moments of its inputs, see collect_moments")
    outputs, inputs = matrix.shape
    groups = len(second_moment)
    if second_moment.shape != (groups, inputs, inputs) or groups == 0 or outputs % groups:
        raise AdrlGymError(
            f"layer {layer}: second moments {tuple(second_moment.shape)} do not fit its {outputs} outputs "
            f"with {inputs} weights each; give those of the same layer"
        )
    if not second_moment.isfinite().all():
        raise AdrlGymError(f"layer {layer}: the moments of its inputs hold NaN or infinity; check the images")
    return second_moment.to(matrix)
