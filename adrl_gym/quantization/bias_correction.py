"""Bias correction (Nagel et al. 2019, "Data-Free Quantization", section 4.2)."""

from torch import Tensor


def bias_correction(weight: Tensor, quantized: Tensor, mean: Tensor) -> Tensor:
    """Return the change of a layer's bias that keeps its mean output: ``(W - W_q) E[x]``.

    Args:
        weight: ``(O, I / G, kH, kW)`` or ``(O, I)``, before quantization.
        quantized: the same after it.
        mean: ``(G, J)``, the float network's mean input to each of the ``J`` weights of an output channel.

    Returns:
        ``(O,)``, in units of the layer's output.

    >>> from torch import tensor
    >>> bias_correction(tensor([[1.0, 2.0]]), tensor([[1.0, 1.5]]), mean=tensor([[3.0, 4.0]]))
    tensor([2.])
    """
    error = (weight - quantized).reshape(len(mean), -1, mean.shape[1])  # (G, O/G, J)
    return (error @ mean[:, :, None]).flatten()
