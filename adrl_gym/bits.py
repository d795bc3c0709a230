"""Bit configurations, and the way from an action to a bit-width."""

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, overload

from torch import Tensor

from adrl_gym.errors import AdrlGymError

_SCHEMA = 1
NONE_KEPT: Mapping[int, int] = MappingProxyType({})

Bits = Sequence[int | None]  # a bit-width for every layer; None leaves the layer float


@dataclass(frozen=True)
class BitConfig:
    """A bit-width for every quantizable layer of one network, in forward order.

    >>> config = BitConfig(("conv1", "fc"), (4, 2))
    >>> config.as_dict()
    {'conv1': 4, 'fc': 2}
    >>> BitConfig.from_json(config.to_json()) == config
    True
    """

    names: tuple[str, ...]
    bits: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.bits) or len(set(self.names)) != len(self.names):
            raise AdrlGymError("a bit configuration needs exactly one bit-width for every layer name")
        for name, bits in zip(self.names, self.bits, strict=True):
            if not 1 <= natural(bits) <= 8:
                raise AdrlGymError(f"layer {name}: {bits!r} is no bit-width, it takes an integer from 1 to 8")
        object.__setattr__(self, "bits", tuple(map(natural, self.bits)))  # JSON has no place for NumPy's integers

    def as_dict(self) -> dict[str, int]:
        """Layer name to bit-width."""
        return dict(zip(self.names, self.bits, strict=True))

    def for_layers(self, names: Sequence[str]) -> tuple[int, ...]:
        """The bit-widths in the order of ``names``.

        Raises:
            AdrlGymError: this configuration is of another network (names the first layer that differs).
        """
        known = self.as_dict()
        for name in names:
            if name not in known:
                raise AdrlGymError(f"the bit configuration says nothing of layer {name}; is it of another network?")
        for name in known:
            if name not in names:
                raise AdrlGymError(f"unknown layer {name} in the bit configuration; the network has {', '.join(names)}")
        return tuple(known[name] for name in names)

    def to_json(self) -> str:
        """JSON with a schema version."""
        return json.dumps({"schema": _SCHEMA, "bits": self.as_dict()}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "BitConfig":
        """The inverse of ``to_json``; raises ``AdrlGymError`` on anything else."""
        try:
            data = json.loads(text)
            version, bits = data["schema"], data["bits"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise AdrlGymError(f"not a bit configuration: {error!r}") from error
        if version != _SCHEMA:
            raise AdrlGymError(f"bit configuration of schema {version}; this version reads schema {_SCHEMA}")
        if not isinstance(bits, dict):
            raise AdrlGymError(f"not a bit configuration: its bits are {bits!r}, not an object of layer names and bits")
        return cls.from_dict(bits)

    @classmethod
    def from_dict(cls, bits: Mapping[str, int]) -> "BitConfig":
        """From layer name to bit-width, in the mapping's order."""
        return cls(tuple(bits), tuple(bits.values()))


@overload
def bits_from_action(action: Tensor, min_bits: int, max_bits: int) -> Tensor: ...
@overload
def bits_from_action(action: float, min_bits: int, max_bits: int) -> int: ...
def bits_from_action(action: float | Tensor, min_bits: int, max_bits: int) -> int | Tensor:
    """Return the bit-width that an action in [-1, 1] means (HAQ, equation 3): equal shares of the range for all.

    A tensor of any shape gives int64 of the same shape.

    >>> [bits_from_action(a, 1, 8) for a in (-1, -0.76, -0.74, 0, 1)]
    [1, 1, 2, 4, 8]
    """
    share = ((action.double() if isinstance(action, Tensor) else action) + 1) / 2  # in [0, 1]
    bits = min_bits - 0.5 + share * (max_bits - min_bits + 1)
    if isinstance(bits, Tensor):
        return bits.round().clamp(min_bits, max_bits).long()
    return min(max(round(bits), min_bits), max_bits)


def action_from_bits(bits: int, min_bits: int, max_bits: int) -> float:
    """Return the middle of the actions that mean ``bits``; the inverse of ``bits_from_action``.

    >>> bits_from_action(action_from_bits(3, 1, 8), 1, 8)
    3
    """
    return 2 * (bits - min_bits + 0.5) / (max_bits - min_bits + 1) - 1


def parse_keep(texts: Iterable[str]) -> dict[str, int]:
    """Patterns of layer names and their bits, as command lines give them; raises ``AdrlGymError`` on anything else.

    >>> parse_keep(["conv1=8", "layer4.*=4,fc=8"])
    {'conv1': 8, 'layer4.*': 4, 'fc': 8}
    """
    keep: dict[str, int] = {}
    for part in (part for text in texts for part in text.split(",")):
        pattern, _, bits = part.rpartition("=")
        if not (pattern.strip() and bits.strip().isdecimal()):
            raise AdrlGymError(
                f"keep {part}: give a pattern of layer names and its bits, for example fc=8", parameter="keep"
            )
        keep[pattern.strip()] = int(bits)
    return keep


def match_keep(keep: Mapping[str, int], names: Sequence[str]) -> dict[int, int]:
    """Index of each layer that a pattern matches -> its bits; of several patterns, the last one counts.

    Args:
        keep: pattern (``*`` and ``?`` stand for any characters, as in a shell) -> bits from 1 to 8.
        names: of all layers, at least one of which must be matched by no pattern.

    Raises:
        AdrlGymError: a pattern that matches nothing, bits out of range, nothing left to search.

    >>> match_keep({"layer*": 4, "*.conv1": 8}, ["conv1", "layer1.conv1", "layer1.conv2"])
    {1: 8, 2: 4}
    """
    kept: dict[int, int] = {}
    for pattern, bits in keep.items():
        if not 1 <= natural(bits) <= 8:
            raise AdrlGymError(f"keep {pattern}={bits!r}: a bit-width is an integer from 1 to 8")
        matched = [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]
        if not matched:
            raise AdrlGymError(f"keep {pattern}={bits}: no layer has such a name; there are {', '.join(names)}")
        kept |= dict.fromkeys(matched, natural(bits))
    if len(kept) == len(names):
        raise AdrlGymError(f"keep {', '.join(keep)}: all {len(names)} layers are kept, so there is nothing to search")
    return dict(sorted(kept.items()))


def natural(value: Any) -> int:
    """``value``, if it is an integer of at least 1, of Python, NumPy or PyTorch; 0 for anything else.

    >>> [natural(value) for value in (3, 0, 2.0, True, "4", None)]
    [3, 0, 0, 0, 0, 0]
    """
    try:
        return 0 if isinstance(value, bool) else max(operator.index(value), 0)
    except TypeError:
        return 0


def check_range(bits: Iterable[int]) -> tuple[int, int]:
    """Lowest and highest bit-width, two integers within 1 to 8; or an ``AdrlGymError``."""
    try:
        min_bits, max_bits = map(natural, bits)
    except (TypeError, ValueError):  # no two
        min_bits = max_bits = 0
    if not 1 <= min_bits <= max_bits <= 8:
        raise AdrlGymError(
            f"bits must be two integers with 1 <= min_bits <= max_bits <= 8, got {bits!r}", parameter="bits"
        )
    return min_bits, max_bits


def check_bits(
    bits: Iterable[int], layers: int, min_bits: int, max_bits: int, kept: Mapping[int, int] = NONE_KEPT
) -> tuple[int, ...]:
    """Return ``bits`` as a tuple of integers in range, or as kept; raise ``AdrlGymError`` for anything else."""
    given = tuple(bits)
    checked = tuple(map(natural, given))
    if len(checked) != layers:
        raise AdrlGymError(f"{len(checked)} bit-widths for a network of {layers} quantizable layers")
    for index, b in enumerate(checked):
        if index in kept and b != kept[index]:
            raise AdrlGymError(f"layer {index}: {given[index]} bits, but this problem keeps it at {kept[index]}")
        if index not in kept and not min_bits <= b <= max_bits:
            raise AdrlGymError(
                f"layer {index}: {given[index]} bits, but this problem has the integers {min_bits} to {max_bits}"
            )
    return checked


def check_partly_float(
    bits: Iterable[int | None], layers: int, min_bits: int, max_bits: int, kept: Mapping[int, int] = NONE_KEPT
) -> tuple[int | None, ...]:
    """Do as ``check_bits``, but any layer, a fixed one too, may be ``None``: float."""
    given = tuple(bits)
    filled = [kept.get(index, min_bits) if b is None else b for index, b in enumerate(given)]
    checked = check_bits(filled, layers, min_bits, max_bits, kept)
    return tuple(None if b is None else c for b, c in zip(given, checked, strict=True))
