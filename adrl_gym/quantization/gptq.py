"""Error-compensating rounding (Frantar et al. 2022, "GPTQ", algorithm 1), in closed form.

The weights of an output channel are rounded one after the other, and each makes up for what the ones before
did wrong to the layer's output. With ``e`` the errors of a channel's weights and ``H`` the second moments
of their inputs, the mean squared error of the output is ``e H e'``. Let ``H = R R'`` with an upper
triangular ``R``: then it is ``|e R|^2``, and entry ``j`` of ``e R``, ``sum_{i<j} e_i R_ij + e_j R_jj``,
depends on the errors up to ``j`` alone. So weight ``j`` is rounded after ``sum_{i<j} e_i R_ij / R_jj`` was
added to it. This is algorithm 1 without its inverse, one Cholesky decomposition instead of two (Chen et al.
2025, "The Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane Algorithm", shows that the two are
the same).

Inputs of large moments come first: they are rounded while many others are left to make up for it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import torch
from torch import Tensor

from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.grid import code_range, nonzero, offset, round_in_place
from adrl_gym.quantization.linear import least_error_steps
from adrl_gym.quantization.shortcuts import Dense, Factored, Gram, factor

_DAMPING = 0.01  # of the mean of the diagonal
_AT_ONCE = 2**25  # weights rounded at once, over all bit-widths
_FACTORED = 2**14  # weights of one input rounded at once where errors of all inputs need no memory


class GPTQ(Quantizer):
    """Error-compensating rounding to levels: ``gptq``."""

    name: ClassVar[str] = "gptq"
    needs_hessian: ClassVar[bool] = True
    takes_gram: ClassVar[bool] = True

    def round(self, matrix: Tensor, bits: Sequence[int], hessian: Tensor | Gram | None) -> dict[int, Tensor]:
        """See ``Quantizer``."""
        assert hessian is not None
        return gptq(matrix, bits, hessian)


def gptq(weight: Tensor, bits: Sequence[int], hessian: Tensor | Gram) -> dict[int, Tensor]:
    """Round a matrix so that the outputs, not the weights, change least.

    Every row of a result is a float32 step times levels; the step has the least squared error weighted by
    the moments' diagonal. Rows that are so already come back bit for bit. Weights of an input that is
    always zero go to their nearest level.

    Args:
        weight: ``(O, J)``, float32, finite.
        bits: bit-widths from 1 to 8, all made in one pass over the inputs.
        hessian: ``(G, J, J)``, finite: ``E[x x']`` of the inputs of each group of ``O / G`` rows,
            or the ``Gram`` of few samples; centred where a bias makes up for the mean error.

    Returns:
        Bit-width -> ``(O, J)`` float32.

    >>> weight = torch.tensor([[0.1, 0.1, 0.1, 1.5]])
    >>> gptq(weight, [2], torch.eye(4)[None])[2]  # unrelated inputs: every weight to its nearest level
    tensor([[0.4000, 0.4000, 0.4000, 1.2000]])
    >>> gptq(weight, [2], torch.eye(4)[None] + 9)[2]  # inputs nearly alike: the weights' sum counts, 1.8
    tensor([[ 0.4000,  0.4000, -0.4000,  1.2000]])
    """
    groups, inputs = hessian.shape[:2]
    feedback, order, importance = _prepare_few(hessian) if isinstance(hessian, Gram) else _prepare(hessian)
    grouped = weight.reshape(groups, -1, inputs)  # (G, O/G, J)
    steps = least_error_steps(weight, max(bits), importance[:, None].expand_as(grouped).reshape_as(weight))
    steps = steps[[b - 1 for b in bits]].reshape(len(bits), groups, -1).movedim(0, 1)  # (G, B, O/G)
    columns = _permute(grouped.mT, order)  # (G, J, O/G)

    back = order.argsort(dim=1)  # (G, J)
    at_once = _FACTORED if isinstance(feedback, Factored) else _AT_ONCE // (groups * inputs)
    size, outputs = max(1, at_once // len(bits)), grouped.shape[1]
    parts = [slice(start, start + size) for start in range(0, outputs, size)]
    rounded = {b: weight.new_empty(grouped.shape) for b in bits}  # (G, O/G, J) each

    @torch.no_grad()  # which threads do not inherit
    def round_part(part: slice) -> None:
        found = _round(columns[:, :, part], steps[:, :, part], bits, feedback)  # (B, G, J, rows)
        for b, own in zip(bits, found, strict=True):
            rounded[b][:, part] = _permute(own, back).mT

    if len(parts) == 1:
        round_part(parts[0])
    else:  # the inputs follow each other in thousands of small steps, which many threads make no faster
        threads = torch.get_num_threads() if weight.device.type == "cpu" else 1
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(round_part, parts))
    return {b: r.reshape(weight.shape) for b, r in rounded.items()}


def _permute(columns: Tensor, order: Tensor) -> Tensor:
    """The columns ``(G, J, ...)`` of each group in ``order`` ``(G, J)``."""
    return columns[torch.arange(len(order), device=order.device)[:, None], order]


def _prepare(hessian: Tensor) -> tuple[Dense, Tensor, Tensor]:
    """Preparation that depends on the inputs alone.

    Returns:
        feedback: in the order in which inputs are rounded.
        order ``(G, J)``: inputs by falling moment.
        importance ``(G, J)``: damped diagonal, inputs as they stand, in (0, 1].
    """
    diagonal = hessian.diagonal(dim1=1, dim2=2).double().clamp_min(0)  # (G, J)
    unit = nonzero(diagonal.mean(1, keepdim=True))  # (G, 1)
    diagonal = diagonal / unit
    order = diagonal.argsort(dim=1, descending=True, stable=True)  # (G, J)
    # Cholesky's factor is a lower triangle; that of the reversed matrix, reversed again, is an upper one.
    reverse = order.flip(1)
    moment = _permute(_permute(hessian, reverse).mT, reverse).double() / unit[:, None]  # (G, J, J)
    lower, damping = _damped_cholesky(moment)
    upper = lower.flip(1, 2)  # R
    feedback = (upper / upper.diagonal(dim1=1, dim2=2)[:, None]).mT.float().contiguous()
    importance = diagonal + damping[:, None]
    return Dense(feedback), order, (importance / importance.amax(1, keepdim=True)).float()


def _prepare_few(hessian: Gram) -> tuple[Factored, Tensor, Tensor]:
    """Return the same from few samples."""
    rows = hessian.rows.double()  # (P, J)
    diagonal = rows.square().sum(0) + hessian.ridge  # (J,)
    unit = nonzero(diagonal.mean())
    order = (diagonal / unit).argsort(descending=True, stable=True)  # (J,)
    feedback = factor(rows[:, order] / unit.sqrt(), _DAMPING + hessian.ridge / float(unit))
    importance = diagonal / unit + _DAMPING  # (J,)
    return feedback, order[None], (importance / importance.amax()).float()[None]


def _damped_cholesky(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky's factor of ``moment`` ``(G, J, J)`` with damping ``(G,)`` on its diagonal, and that damping.

    ``moment`` has a mean diagonal of 1, or 0 for a group whose inputs are all dead. Moments are positive
    semi-definite but for rounding, so the usual damping does. Where it does not, it grows ten-fold; it ends
    at the latest when the matrix is diagonally dominant.
    """
    eye = torch.eye(moment.shape[1], dtype=moment.dtype, device=moment.device)
    damping = torch.full_like(moment[:, 0, 0], _DAMPING)
    while True:
        lower, failed = torch.linalg.cholesky_ex(moment + damping[:, None, None] * eye)  # (G, J, J), (G,)
        if not failed.any():
            return lower, damping
        damping = torch.where(failed > 0, 10 * damping, damping)


def _round(columns: Tensor, steps: Tensor, bits: Sequence[int], feedback: Dense | Factored) -> Tensor:
    """The one pass over the inputs.

    Args:
        columns: ``(G, J, R)``, weights of ``R`` rows of each group, inputs in order.
        steps: ``(G, B, R)``.
        bits: the ``B`` bit-widths.
        feedback: of these groups.

    Returns:
        ``(B, G, J, R)``.
    """
    groups, inputs, rows = columns.shape
    # The bit-widths lie side by side as if they were further rows; all that tells them apart is these.
    step = steps.reshape(groups, -1)  # (G, B R)
    divisor = nonzero(step)
    ranges = [(*code_range(b), offset(b)) for b in bits for _ in range(rows)]
    lowest, highest, shift = columns.new_tensor(ranges).unbind(1)  # (B R,) each

    rounded = columns.new_empty(groups, inputs, len(bits) * rows)  # (G, J, B R)
    past = feedback.begin(len(bits) * rows)
    for start in range(0, inputs, feedback.block):
        block = columns[:, start : start + feedback.block].repeat(1, 1, len(bits))  # (G, block, B R)
        stop = start + block.shape[1]
        target = block + past.before(start, stop)  # (G, block, B R)
        within, errors = feedback.within(start, stop), past.errors(start, stop)  # (G, block, block or B R)
        for j in range(stop - start):
            here = target[:, j, None]  # (G, 1, B R)
            wanted = torch.baddbmm(here, within[:, j, None, :j], errors[:, :j])[:, 0]  # (G, B R)
            code = round_in_place((wanted / divisor).sub_(shift)).clamp_(lowest, highest)
            value = code.add_(shift).mul_(step)  # (G, B R)
            rounded[:, start + j] = value
            torch.sub(block[:, j], value, out=errors[:, j])
        past.done(start, stop)
    return rounded.reshape(groups, inputs, len(bits), rows).movedim(2, 0)
