"""The quantizers by name."""

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.gptq import GPTQ
from adrl_gym.quantization.kmeans import KMeans
from adrl_gym.quantization.linear import Linear

QUANTIZERS: dict[str, Quantizer] = {quantizer.name: quantizer for quantizer in (GPTQ(), Linear(), KMeans())}


def find_quantizer(name: str) -> Quantizer:
    """Return the quantizer of that name; raises ``AdrlGymError`` where there is none.

    >>> import torch
    >>> find_quantizer("linear").quantize(torch.tensor([[1.0, -1.0], [0.5, 0.4]]), [1])
    {1: tensor([[ 1.0000, -1.0000],
            [ 0.4500,  0.4500]])}
    """
    if name not in QUANTIZERS:
        raise AdrlGymError(f"unknown quantizer {name!r}; choose one of {', '.join(QUANTIZERS)}")
    return QUANTIZERS[name]
