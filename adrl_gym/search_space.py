"""The bit configurations of one network: its layers, their bit-widths, and the budget."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from adrl_gym import costs
from adrl_gym.bits import check_bits, check_partly_float, match_keep
from adrl_gym.config import ProblemConfig
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import LayerSpec

Width = TypeVar("Width", int, int | None)
_RENAMED = {"free": "searchable", "kept": "fixed_bits", "lowest": "min_bits", "highest": "max_bits"}


class SearchSpace:
    """Bit configurations of one network under a budget; nothing is measured here.

    A configuration has a bit-width for each layer's weights, in forward order. Where activations are searched, one for
    each layer's input follows: ``2 n`` bit-widths for ``n`` layers. So a position below ``n`` in a configuration is of
    weights, and position ``n + i`` is of the input of layer ``i``.

    Args:
        layers: all quantizable layers in forward order.
        config: for the range of bits, the fixed layers and the budget.
        inputs: bit-widths that each layer's input can have, rising; ``(32,)`` is float. Without them, all are float.

    Attributes:
        layers: as given.
        parameters: weights of each layer.
        inputs: as given.
        searches_inputs: ``True`` if bits of activations are decisions too.
        fixed_weights: index of each layer whose weights are not searched -> their bits.
        fixed_bits: position that is not searched -> its bits.
        searchable: positions that are searched, in the order of the decisions: layer after layer, of each its weights
            and then its input.
        min_bits, max_bits: range of the searched bits; inputs have at least 2 whatever is asked.
        budget: as in the configuration.
        limits: of the budget, for these layers.

    Raises:
        AdrlGymError: an impossible budget; a table that lacks layers; fixed layers that there are not.
    """

    def __init__(
        self, layers: tuple[LayerSpec, ...], config: ProblemConfig, inputs: Sequence[tuple[int, ...]] | None = None
    ) -> None:
        self.layers = layers
        self.inputs = ((costs.FLOAT_BITS,),) * len(layers) if inputs is None else tuple(inputs)
        self.searches_inputs = config.activations == "search"
        self.min_bits, self.max_bits = config.bits
        self.parameters = tuple(layer.parameters for layer in layers)
        self.fixed_weights = match_keep(config.keep, [layer.name for layer in layers])
        self.fixed_bits = dict(self.fixed_weights)
        if self.searches_inputs:
            self.fixed_bits |= {len(layers) + i: own[0] for i, own in enumerate(self.inputs) if len(own) == 1}
        steps = [(i, len(layers) + i) if self.searches_inputs else (i,) for i in range(len(layers))]
        self.searchable = tuple(place for step in steps for place in step if place not in self.fixed_bits)
        self.budget = config.budget
        table = None if config.cost_table is None else costs.CostTable.load(config.cost_table)
        limits = [
            (
                costs.searched_cost(kind, layers, self.inputs, table)
                if self.searches_inputs
                else costs.cost_of(kind, layers, [own[0] for own in self.inputs], table),
                limit,
            )
            for kind, limit in costs.limits_of(config.budget).items()
        ]
        self.limits = costs.Limits(limits, self.min_bits, self.fixed_bits)

    @property
    def length(self) -> int:
        """Bit-widths in a configuration: ``n``, or ``2 n`` where activations are searched."""
        return len(self.layers) * (1 + self.searches_inputs)

    def describe(self, position: int) -> str:
        """Return words for a position of a configuration: the layer's name, or that its input is meant."""
        layer = self.layers[position % len(self.layers)].name
        return layer if position < len(self.layers) else f"{layer}, input"

    def widths(self, position: int) -> range:
        """Return the bit-widths that a searched position can have."""
        if position < len(self.layers):
            return range(self.min_bits, self.max_bits + 1)
        own = self.inputs[position - len(self.layers)]
        return range(own[0], own[-1] + 1)

    def check(self, bits: Iterable[int]) -> tuple[int, ...]:
        """Return a configuration as a tuple of integers in range, or as fixed.

        Raises:
            AdrlGymError: any other bits; names the layer.
        """
        given = tuple(bits)
        self._check_inputs(given)
        return check_bits(given, *self._allowed)

    def check_partly_float(self, bits: Iterable[int | None]) -> tuple[int | None, ...]:
        """Do as ``check``, but any position, a fixed one too, may be ``None``: float."""
        given = tuple(bits)
        self._check_inputs(given)
        return check_partly_float(given, *self._allowed)

    def fits(self, bits: Sequence[int]) -> bool:
        """Return whether a configuration of all layers is within the budget."""
        return self.limits.fits(bits)

    def project(self, bits: Sequence[int]) -> tuple[int, ...]:
        """Apply HAQ's action wall: the nearest configuration below that meets the budget, fixed bits as they are."""
        return self.limits.project(bits)

    def with_fixed(self, bits: Sequence[Width]) -> tuple[Width | int, ...]:
        """Extend searched bit-widths, ``len(searchable)`` of them in their order, to a whole configuration.

        An input gets the fewest bits that it can have where it is given fewer.
        """
        whole: dict[int, Width | int] = {**self.fixed_bits, **dict(zip(self.searchable, bits, strict=True))}
        n = len(self.layers)
        for place in self.searchable if self.searches_inputs else ():
            b = whole[place]
            if place >= n and b is not None:
                whole[place] = max(b, self.inputs[place - n][0])
        return tuple(whole[index] for index in range(self.length))

    def cost_ratios(self, bits: Sequence[int]) -> dict[str, float]:
        """Return, for each kind that the budget limits, a configuration's cost over the float network's."""
        return self.limits.ratios(bits)

    def size_ratio(self, bits: Sequence[int]) -> float:
        """Return weight bits over 32-bit weight bits."""
        return costs.size_ratio(bits[: len(self.layers)], self.parameters)

    def average_bits(self, bits: Sequence[int]) -> float:
        """Return the mean bits a weight."""
        return costs.average_bits(bits[: len(self.layers)], self.parameters)

    def __getattr__(self, name: str) -> Any:
        if name not in _RENAMED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(f"QuantProblem.{name} is now {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return getattr(self, _RENAMED[name])

    @property
    def _allowed(self) -> tuple[int, int, int, dict[int, int]]:
        return self.length, self.min_bits, self.max_bits, self.fixed_bits

    def _check_inputs(self, bits: Sequence[int | None]) -> None:
        """Refuse a configuration of another length, or bits that an input cannot have; ``AdrlGymError``."""
        if not self.searches_inputs:
            return
        n = len(self.layers)
        if len(bits) != self.length:
            raise AdrlGymError(
                f"{len(bits)} bit-widths where activations are searched: {self.length} are needed, those of the "
                f"{n} layers' weights and after them those of their inputs"
            )
        for place in range(n, self.length):
            if bits[place] not in (None, *self.inputs[place - n]):
                raise AdrlGymError(
                    f"layer {self.describe(place)}: {bits[place]} bits, but this problem has "
                    f"{' '.join(map(str, self.inputs[place - n]))}"
                )
