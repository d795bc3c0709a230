"""Error-compensating rounding (Frantar et al. 2022, "GPTQ", algorithm 1), in closed form.

The weights of an output channel are rounded one after the other, and each takes over what the ones before did wrong
to the layer's output. With ``e`` the errors of a row so far and ``H`` the second moments of the layer's inputs, the
row's mean squared output error is ``e H e'``. Let ``H = R R'`` with an upper triangular ``R``, then it is ``|e R|^2``,
and column ``j`` of ``e R`` depends on the errors up to ``j`` only: ``(sum_{i<j} e_i R_ij) + e_j R_jj``. So weight
``j`` is rounded after adding ``sum_{i<j} e_i R_ij / R_jj``. That is algorithm 1 without its inverse: one Cholesky
decomposition instead of three (Chen et al. 2025, "The geometry of LLM quantization", shows that they are the same).

Inputs come in order of falling moments, as in GPTQ's ``act_order``: the important ones are rounded while
there are still many left to make up for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adrl_gym.errors import AdrlGymError
from adrl_gym.quantizers.levels import code_range, nonzero, offset
from adrl_gym.quantizers.linear import least_error_steps

DAMPING = (0.01, 0.1, 1.0)  # of the mean moment; the next one is tried where the one before is not enough
_BLOCK = 128  # columns whose errors reach the columns after them in one matrix product
_AT_ONCE = 2**25  # weights rounded at once, over all bit-widths: 128 MiB for each tensor of this size


def gptq(weight: Tensor, bits: Sequence[int], second_moment: Tensor) -> dict[int, Tensor]:
    """Round a matrix so that the outputs, not the weights, change least.

    Every row of a result is exactly its float32 step times levels; the step is the one of least squared error
    weighted by the moments' diagonal. Rows that are so already come back bit for bit. An input that is always zero
    has its weights rounded to nearest.

    Args:
        weight: ``(O, J)``, float32, finite.
        bits: bit-widths from 1 to 8; all are made in one pass over the columns.
        second_moment: ``(G, J, J)``, ``E[x x']`` of the inputs of each of ``G`` groups of rows; centred if the means'
            error is corrected elsewhere.

    Returns:
        Bit-width -> ``(O, J)`` float32.

    Raises:
        AdrlGymError: ``second_moment`` is none (far from positive semi-definite).
    """
    groups, inputs = second_moment.shape[:2]
    feedback, order, importance = _feedback(second_moment)
    grouped = weight.reshape(groups, -1, inputs)  # (G, O/G, J)
    steps = least_error_steps(weight, max(bits), importance[:, None].expand_as(grouped).reshape_as(weight))
    steps = steps[[b - 1 for b in bits]].reshape(len(bits), groups, -1)  # (B, G, O/G)
    columns = grouped.transpose(1, 2).gather(1, order[:, :, None].expand(-1, -1, grouped.shape[1]))  # (G, J, O/G)

    rows = max(1, _AT_ONCE // (len(bits) * groups * inputs))
    parts = zip(columns.split(rows, dim=2), steps.split(rows, dim=2), strict=True)
    ...
