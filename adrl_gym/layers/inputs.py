"""Quantized inputs of layers: the grid, and the hook that puts a layer's input on it.

The arithmetic is that of ONNX's ``QuantizeLinear`` and ``DequantizeLinear`` in float32, as onnxruntime computes it.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError

MIN_ACTIVATION_BITS, MAX_ACTIVATION_BITS = 2, 8


@dataclass(frozen=True)
class ActivationGrid:
    """Unsigned, affine, per-tensor grid of a layer's input: ``scale * (q - zero_point)``, ``q`` in 0 to 2^bits - 1.

    Zero is always on the grid, as padding needs it.

    Attributes:
        bits: from 2 to 8.
        scale: distance of neighbouring values; positive, finite, a float32.
        zero_point: the integer that means zero, from 0 to 2^bits - 1; 0 for a tensor that is never negative.

    Raises:
        AdrlGymError: any other value.

    >>> ActivationGrid(2, 0.5, 1).quantize(torch.tensor([-2.0, 0.25, 0.75, 9.0]))
    tensor([-0.5000,  0.0000,  1.0000,  1.0000])
    """

    bits: int
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        check_activation_bits(self.bits)
        scale = float(torch.tensor(self.scale, dtype=torch.float32))
        if not 0 < scale < math.inf:
            raise AdrlGymError(
                f"scale must be a positive, finite float32, got {self.scale!r}: calibrate the grid again"
            )
        if self.zero_point not in range(2**self.bits):
            raise AdrlGymError(
                f"zero_point must be an integer from 0 to {2**self.bits - 1}, got {self.zero_point!r}: calibrate the "
                "grid again"
            )
        object.__setattr__(self, "scale", scale)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value in units of ``scale``: the integers without the zero point."""
        return -self.zero_point, 2**self.bits - 1 - self.zero_point

    def quantize(self, x: Tensor) -> Tensor:
        """Return the nearest values on the grid, halves to even integers; shape and type of ``x``, a new tensor.

        Gradients pass where ``x`` is within the range of the grid (straight-through estimator, Bengio et al. 2013).
        """
        if x.requires_grad and torch.is_grad_enabled():
            passed: Tensor = _StraightThrough.apply(x, self)
            return passed
        steps = self._steps(x)  # of the shape of x
        return steps.mul_(self._scale(x)).to(x.dtype)

    def codes(self, x: Tensor) -> Tensor:
        """Return the integers ``q`` of any ``x``, uint8 of its shape."""
        return (self._steps(x.detach()) + self.zero_point).to(torch.uint8)

    def _steps(self, x: Tensor) -> Tensor:
        """Return ``q - zero_point`` as float32."""
        # By a tensor, since CUDA multiplies with the reciprocal of a number, which rounds differently.
        return torch.div(x.float(), self._scale(x)).round_().clamp_(*self.range)

    def _scale(self, x: Tensor) -> Tensor:
        return torch.tensor(self.scale, dtype=torch.float32, device=x.device)  # ()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: ActivationGrid) -> Tensor:
        lowest, highest = grid.range
        ctx.save_for_backward((x >= (lowest - 0.5) * grid.scale) & (x <= (highest + 0.5) * grid.scale))
        return grid.quantize(x.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


class _Grid(Protocol):
    """Puts activations on a grid; ``ActivationGrid``, or one in training."""

    def quantize(self, x: Tensor) -> Tensor:
        """Return ``x`` on the grid."""


class InputQuantizer:
    """Forward pre-hook that quantizes a layer's input; without a grid, the layer gets its input as it is.

    Attributes:
        grid: of the input, if it is quantized.
    """

    def __init__(self) -> None:
        self.grid: _Grid | None = None

    def __call__(
        self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the arguments of the layer's call with the quantized input; see ``nn.Module``."""
        if self.grid is None:
            return None
        if inputs:
            return (self.grid.quantize(inputs[0]), *inputs[1:]), keywords
        return inputs, {**keywords, "input": self.grid.quantize(keywords["input"])}


def input_quantizer(module: nn.Module) -> InputQuantizer | None:
    """Return the hook that quantizes the module's input, if it has one."""
    found = (hook for hook in module._forward_pre_hooks.values() if isinstance(hook, InputQuantizer))
    return next(found, None)


def input_grid(module: nn.Module) -> ActivationGrid | None:
    """Return the grid of the module's input; ``None`` where the input is float, or its grid is in training."""
    hook = input_quantizer(module)
    return hook.grid if hook is not None and isinstance(hook.grid, ActivationGrid) else None


def input_grids(network: nn.Module) -> dict[str, ActivationGrid]:
    """Return the name of each module of the network whose input is quantized, and its grid."""
    found = {name: input_grid(module) for name, module in network.named_modules()}
    return {name: grid for name, grid in found.items() if grid is not None}


def set_input_grid(module: nn.Module, grid: ActivationGrid | None) -> None:
    """Quantize the module's input on a grid from now on, or leave it float.

    The same holds for other modules that share its hook (``share_input_quantizer``).
    """
    hook = input_quantizer(module)
    if hook is not None:
        hook.grid = grid
    elif grid is not None:
        share_input_quantizer([module]).grid = grid


def share_input_quantizer(modules: Iterable[nn.Module]) -> InputQuantizer:
    """Let modules quantize their inputs on one grid, which is still to be set; none has such a hook yet."""
    hook = InputQuantizer()
    for module in modules:
        module.register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
    return hook


@contextmanager
def float_inputs(network: nn.Module) -> Iterator[None]:
    """Let all layers of the network get their inputs as they are for a while, also in copies that are made of it."""
    hooks = {hook: hook.grid for module in network.modules() if (hook := input_quantizer(module)) is not None}
    try:
        for hook in hooks:
            hook.grid = None
        yield
    finally:
        for hook, grid in hooks.items():
            hook.grid = grid


def check_activation_bits(bits: object) -> None:
    """Refuse other bit-widths of activations than the integers from 2 to 8; raises ``AdrlGymError``."""
    if isinstance(bits, bool) or bits not in range(MIN_ACTIVATION_BITS, MAX_ACTIVATION_BITS + 1):
        raise AdrlGymError(
            f"activations must have {MIN_ACTIVATION_BITS} to {MAX_ACTIVATION_BITS} bits, got {bits!r}: "
            "8 is what runtimes accelerate",
            parameter="activations",
        )
