"""The settings of a quantization problem: one home for each default."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from adrl_gym.activations import ActivationRange, Activations, check_activation_range, check_activations
from adrl_gym.bits import check_range
from adrl_gym.costs import COUNT_ACTIVATIONS, Budget, budget_name, limits_of, plain_budget
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Precision, parse_workers
from adrl_gym.layers import MIN_ACTIVATION_BITS
from adrl_gym.quantization import CALIBRATIONS, Calibration, find_quantizer

_RENAMED = {"recipe": "calibration", "memo": "cache"}  # keywords of version 0.1
_RECIPES = {"direct": "independent", "refit": "sequential"}


@dataclass(frozen=True, kw_only=True)
class ProblemConfig:
    """Settings of a quantization problem, shared by command line, environment and ``QuantProblem``.

    Raises:
        AdrlGymError: an impossible value.
    """

    budget: Budget = 0.0625
    """Largest size of the weights over their size in 32 bits; 0.0625 is 16 times smaller. Or several limits, each a
    share of the float network's: ``{"size": 0.125, "latency": 0.5}``; kinds are those of ``costs.KINDS``."""
    cost_table: str | Path | None = None
    """CSV file of what layers take on one's own hardware; budgets of latency and energy need it."""
    quantizer: str = "gptq"
    """Rounding of the weights: error-compensating, to the nearest level, or to a codebook."""
    bits: tuple[int, int] = (1, 8)
    """Smallest and largest bit-width, within 1 to 8."""
    bias_correction: bool = True
    """Let each layer's bias absorb the mean error of its quantized weights."""
    calibration: Calibration = "independent"
    """Calibration of the weights: independent quantizes each layer by itself; sequential goes layer after layer,
    against the inputs that the quantized layers before really deliver (some seconds a configuration)."""
    activations: Activations = "float"
    """Bits of every layer's input, 2 to 8, on grids calibrated on the search images; the first layer's has 8. Or
    ``search``: a decision of its own for each layer, after that on its weights (HAQ)."""
    activation_range: ActivationRange = "mse"
    """Choice of the inputs' ranges: least squared error, all but 0.01 % of the values at either end, or all values."""
    keep: Mapping[str, int] = field(default_factory=dict)
    """Layers at fixed bits: pattern of layer names -> bits; they count in the size and may be outside ``bits``."""
    device: str | torch.device = "auto"
    """Device that measures configurations, or several with commas; auto takes every CUDA device, else the CPU."""
    cache: str | Path | None = None
    """SQLite file of evaluations, shared by runs and processes; None keeps them in memory alone."""
    activation_memory: int = 2 << 30
    """Bytes for quantized weights and for activations that later configurations begin from; these get half at least."""
    workers: int | str | None = None
    """Ray actors that measure configurations, a number or ray:ADDRESS of a cluster; None measures in this process."""
    profile_precision: Precision = "float32"
    """Precision of profiling; bfloat16 where the processor has it. What is reported is float32."""

    def __post_init__(self) -> None:
        check_range(self.bits)
        object.__setattr__(self, "budget", plain_budget(self.budget))
        if self.calibration not in CALIBRATIONS:
            raise AdrlGymError(f"unknown calibration {self.calibration!r}: choose one of {', '.join(CALIBRATIONS)}")
        find_quantizer(self.quantizer)
        check_activations(self.activations)
        check_activation_range(self.activation_range)
        if self.activations == "search":
            self._check_search()
        if self.workers is not None:
            parse_workers(self.workers)

    @property
    def input_precision(self) -> str:
        """All settings that quantized inputs depend on, in one line; ``float`` where they are float."""
        if self.activations == "search":
            return f"{self.activation_widths} bits {self.activation_range}"
        return "float" if self.activations == "float" else f"{self.activations} bits {self.activation_range}"

    @property
    def activation_widths(self) -> tuple[int, ...]:
        """Bit-widths that the layers' inputs can have; none where they are float."""
        if self.activations == "float":
            return ()
        if self.activations == "search":
            return tuple(range(max(self.bits[0], MIN_ACTIVATION_BITS), self.bits[1] + 1))
        return (self.activations,)

    def _check_search(self) -> None:
        """Refuse settings with which there is no point in a search of activations, or that cannot have it."""
        if not self.activation_widths:
            raise AdrlGymError(
                f"activations search needs bit-widths of at least {MIN_ACTIVATION_BITS}, and bits are {self.bits}: "
                "raise the largest one",
                parameter="bits",
            )
        if not any(kind in COUNT_ACTIVATIONS for kind in limits_of(self.budget)):
            raise AdrlGymError(
                f"a budget of {budget_name(self.budget)} does not limit the bits of activations, so there is nothing "
                f"to search: give a limit of {' or '.join(COUNT_ACTIVATIONS)}, alone or beside it, or activations 8",
                parameter=("activations", "budget"),
            )
        if self.calibration == "sequential":
            raise AdrlGymError(
                "activations search measures configurations with weights calibrated independently: leave calibration "
                "sequential out, and refit what the search finds",
                parameter="calibration",
            )

    def replace(self, **changes: Any) -> "ProblemConfig":
        """Return a copy with some values changed; keywords of earlier versions are translated with a warning."""
        return dataclasses.replace(self, **_current(changes))


def _current(keywords: dict[str, Any]) -> dict[str, Any]:
    """Keywords under their present names."""
    current: dict[str, Any] = {}
    for name, value in keywords.items():
        now = _RENAMED.get(name, name)
        if now != name:
            value = _RECIPES.get(value, value) if name == "recipe" else value
            warnings.warn(f"{name} is now {now}: give {now}={value!r}", DeprecationWarning, stacklevel=5)
        current[now] = {} if now == "keep" and value is None else value
    known = {f.name for f in dataclasses.fields(ProblemConfig)}
    if unknown := sorted(set(current) - known):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return current
