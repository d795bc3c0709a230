"""A budget as users write it: one number for the size, or limits on costs of several kinds."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeAlias

from adrl_gym.errors import AdrlGymError

Budget: TypeAlias = float | Mapping[str, float]

#: Kind of a cost -> the float network's whole that a limit is a share of, as messages call it.
KINDS: Mapping[str, str] = {
    "size": "32-bit size",
    "bitops": "bit operations in 32 x 32 bits",
    "latency": "float network's latency",
    "energy": "float network's energy",
    "memory": "32-bit memory",
}

#: Kinds that fewer bits of activations lower. Size has none, and memory's peak is that of the 8-bit images as a rule.
COUNT_ACTIVATIONS = ("bitops", "latency", "energy")


def limits_of(budget: Budget) -> dict[str, float]:
    """Return kind -> largest share of the float network's cost, in the order of ``KINDS``.

    Raises:
        AdrlGymError: no number, an unknown kind, or no kind at all.

    >>> limits_of(0.0625)
    {'size': 0.0625}
    >>> limits_of({"latency": 0.5, "size": 0.125})
    {'size': 0.125, 'latency': 0.5}
    """
    given: Mapping[str, object] = budget if isinstance(budget, Mapping) else {"size": budget}
    if not given:
        raise AdrlGymError(f"the budget names no kind: give at least one of {', '.join(KINDS)}", parameter="budget")
    limits: dict[str, float] = {}
    for kind, limit in given.items():
        if kind not in KINDS:
            raise AdrlGymError(f"unknown kind of budget {kind!r}: choose one of {', '.join(KINDS)}", parameter="budget")
        if not isinstance(limit, Real) or math.isnan(limit):
            name = "budget" if given is not budget else f"budget {kind}"
            raise AdrlGymError(
                f"{name}={limit!r}: a number is needed, for example 0.0625 for 16 times smaller", parameter="budget"
            )
        limits[kind] = float(limit)
    return {kind: limits[kind] for kind in KINDS if kind in limits}


def check_shares(budget: Budget) -> None:
    """Refuse what ``limits_of`` refuses, and limits above 1: the float network itself."""
    given: Mapping[str, object] = budget if isinstance(budget, Mapping) else {"size": budget}
    for kind, limit in given.items():
        if kind in KINDS and isinstance(limit, float | int) and not limit <= 1:
            name = f"budget {kind}" if isinstance(budget, Mapping) else "budget"
            raise AdrlGymError(
                f"{name} must be in (0, 1], got {limit:g}: give the share of the {KINDS[kind]}, e.g. 0.0625",
                parameter="budget",
            )
    limits_of(budget)


def plain_budget(budget: Budget) -> Budget:
    """Return a budget in its one canonical form: a number where the size alone is limited.

    >>> plain_budget({"size": 0.0625}), plain_budget({"bitops": 0.01})
    (0.0625, {'bitops': 0.01})
    """
    limits = limits_of(budget)
    return limits["size"] if list(limits) == ["size"] else limits


def budget_name(budget: Budget) -> str:
    """Return a budget as the command line takes it.

    >>> budget_name(0.0625), budget_name({"size": 0.125, "latency": 0.5})
    ('0.0625', 'size=0.125 latency=0.5')
    """
    if isinstance(budget, Mapping):
        return " ".join(f"{kind}={limit:g}" for kind, limit in limits_of(budget).items())
    return f"{budget:g}"


def told_ratios(ratios: Mapping[str, float]) -> str:
    """Return words for costs over the float network's.

    >>> told_ratios({"size": 0.125, "latency": 0.48})
    "0.125 of the 32-bit size, 0.48 of the float network's latency"
    """
    return ", ".join(f"{ratio:.4g} of the {KINDS[kind]}" for kind, ratio in ratios.items())


def parse_budget(texts: Sequence[str]) -> Budget:
    """Return the budget that words of a command line say; the inverse of ``budget_name``.

    Raises:
        AdrlGymError: no number, or a kind given twice; ``check_shares`` refuses the rest.

    >>> parse_budget(["0.0625"]), parse_budget(["size=0.125", "latency=0.5"])
    (0.0625, {'size': 0.125, 'latency': 0.5})
    """
    limits: dict[str, float] = {}
    for text in texts:
        kind, equals, number = text.rpartition("=")
        kind = kind if equals else "size"
        if kind in limits:
            raise AdrlGymError(f"the budget limits {kind} twice: give each kind once", parameter="budget")
        try:
            limits[kind] = float(number)
        except ValueError:
            raise AdrlGymError(
                f"budget {text}: give a share of the float network, for example 0.0625 or size=0.125 latency=0.5",
                parameter="budget",
            ) from None
    return limits["size"] if list(limits) == ["size"] else limits
