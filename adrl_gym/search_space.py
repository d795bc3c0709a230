"""The bit configurations of one network: its layers, their bit-widths, and the budget."""

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

from adrl_gym import costs
from adrl_gym.bits import match_keep
from adrl_gym.config import ProblemConfig
from adrl_gym.layers import LayerSpec

Width = TypeVar("Width", int, int | None)
_RENAMED = {"free": "searchable", "kept": "fixed_bits", "lowest": "min_bits", "highest": "max_bits"}


class SearchSpace:
    """Bit configurations of one network under a budget; nothing is measured here.

    Args:
        layers: all quantizable layers in forward order. A configuration has a bit-width for each of them.
        config: for the range of bits, the fixed layers and the budget.
        activation_bits: of each layer's input, 32 where it is float; without them, all are.

    Attributes:
        layers: as given.
        parameters: weights of each layer.
        fixed_bits: index of each layer that is not searched -> its bits.
        searchable: indices of the layers that are searched.
        min_bits, max_bits: range of the searched layers' bits.
        budget: as in the configuration.
        limits: of the budget, for these layers.

    Raises:
        AdrlGymError: an impossible budget; a table that lacks layers; fixed layers that there are not.
    """

    def __init__(
        self, layers: tuple[LayerSpec, ...], config: ProblemConfig, activation_bits: Sequence[int] | None = None
    ) -> None:
        self.layers = layers
        self.min_bits, self.max_bits = config.bits
        self.parameters = tuple(layer.parameters for layer in layers)
        self.fixed_bits = match_keep(config.keep, [layer.name for layer in layers])
        self.searchable = tuple(index for index in range(len(layers)) if index not in self.fixed_bits)
        self.budget = config.budget
        table = None if config.cost_table is None else costs.CostTable.load(config.cost_table)
        activation_bits = [costs.FLOAT_BITS] * len(layers) if activation_bits is None else activation_bits
        limits = [
            (costs.cost_of(kind, layers, activation_bits, table), limit)
            for kind, limit in costs.limits_of(config.budget).items()
        ]
        self.limits = costs.Limits(limits, self.min_bits, self.fixed_bits)

    def fits(self, bits: Sequence[int]) -> bool:
        """Return whether a configuration of all layers is within the budget."""
        return self.limits.fits(bits)

    def project(self, bits: Sequence[int]) -> tuple[int, ...]:
        """Apply HAQ's action wall: the nearest configuration below that meets the budget, fixed bits as they are."""
        return self.limits.project(bits)

    def with_fixed(self, bits: Sequence[Width]) -> tuple[Width | int, ...]:
        """Extend bit-widths of the searched layers, ``len(searchable)`` of them, to those of all layers."""
        whole: dict[int, Width | int] = {**self.fixed_bits, **dict(zip(self.searchable, bits, strict=True))}
        return tuple(whole[index] for index in range(len(self.layers)))

    def cost_ratios(self, bits: Sequence[int]) -> dict[str, float]:
        """Return, for each kind that the budget limits, a configuration's cost over the float network's."""
        return self.limits.ratios(bits)

    def size_ratio(self, bits: Sequence[int]) -> float:
        """Return weight bits over 32-bit weight bits."""
        return costs.size_ratio(bits, self.parameters)

    def average_bits(self, bits: Sequence[int]) -> float:
        """Return the mean bits a weight."""
        return costs.average_bits(bits, self.parameters)

    def __getattr__(self, name: str) -> Any:
        if name not in _RENAMED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(f"QuantProblem.{name} is now {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return getattr(self, _RENAMED[name])

    @property
    def _allowed(self) -> tuple[int, int, int, dict[int, int]]:
        return len(self.layers), self.min_bits, self.max_bits, self.fixed_bits
