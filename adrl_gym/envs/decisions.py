"""Meanings of a family's actions: how the actions of one episode become a bit configuration."""

from typing import Any, Literal, get_args

import numpy as np

from adrl_gym.bits import bits_from_action
from adrl_gym.envs.actions import check_numbers
from adrl_gym.envs.member import FamilyMember
from adrl_gym.errors import AdrlGymError
from adrl_gym.sensitivity import SensitivityTable, minimise_pairwise

Decision = Literal["bits", "offset", "correction", "interactions"]
OFFSET_REACH = 2  # bits up and down that an offset can be
CORRECTED = 3  # parts of a layer's row that have a factor each: fewest bits, one more, all others
CORRECTION_REACH = 0.75  # natural logarithm of the largest factor
# Share of the interactions that counts with a factor of 1. Chosen on networks that policies learn from; 1 is worse, as
# gradients at the float network overstate what many layers of 1 bit add (docs/family.md).
TRUST = 0.35


def action_size(decision: Decision) -> int:
    """Return how many numbers an action of this meaning has; raises ``AdrlGymError`` for an unknown one."""
    if decision not in get_args(Decision):
        raise AdrlGymError(
            f"unknown decision {decision!r}: choose one of {', '.join(get_args(Decision))}", parameter="decision"
        )
    return {"correction": CORRECTED, "interactions": 2}.get(decision, 1)


class Decisions:
    """Decisions of one episode on one member, layer after layer.

    - ``bits``: HAQ's action; the whole configuration is projected by HAQ's action wall.
    - ``offset``: bits more or less than the knapsack would choose here, given the layers before. An offset after which
      the later layers cannot meet the budget is reduced. Zero is the knapsack's own answer.
    - ``correction``: logarithms of factors on the layer's row of the table, for the fewest bits, one more, and all
      others. After the last layer the knapsack chooses on the corrected table. Zero is the knapsack's own answer.
    - ``interactions``: logarithms of factors on the layer's costs at the fewest bits, and on its interactions with all
      others, of which ``TRUST`` counts. After the last layer ``minimise_pairwise`` chooses.

    Args:
        member: network, quantizer and budget.
        decision: meaning of the actions.
    """

    def __init__(self, member: FamilyMember, decision: Decision) -> None:
        self.member, self.decision, self._size = member, decision, action_size(decision)
        self._bits: list[int] = []
        self._factors: list[np.ndarray] = []  # of each layer so far (A,)
        self._previous = 0.0

    def done(self) -> bool:
        """Return whether the last layer is decided."""
        return len(self._bits) == self.member.layers

    def observation(self) -> np.ndarray:
        """Return the features of the next layer; after the last one, its own with the last action."""
        return self.member.observation(tuple(self._bits), self._previous)

    def take(self, action: Any) -> None:
        """Decide the next layer.

        Raises:
            AdrlGymError: an action of another shape, or with NaN.
        """
        numbers = check_numbers(action, self._size).clip(-1, 1)  # (A,)
        self._previous = float(numbers[0] + 1) / 2
        space, layer = self.member.space, len(self._bits)
        if self.decision == "bits":
            self._bits.append(bits_from_action(float(numbers[0]), space.min_bits, space.max_bits))
        elif self.decision == "offset":
            self._bits.append(self._offset(round(OFFSET_REACH * float(numbers[0]))))
        else:
            self._factors.append(np.exp(CORRECTION_REACH * numbers))
            self._bits.append(self.member.answer[layer])

    def bits(self) -> tuple[int, ...]:
        """Return the bits of the searched layers, within the budget; after the last layer."""
        member = self.member
        if self._factors:
            return self._corrected(np.array(self._factors))
        whole = member.space.project(member.space.with_fixed(self._bits))
        return tuple(whole[place] for place in member.space.searchable)

    def _corrected(self, factors: np.ndarray) -> tuple[int, ...]:
        """Return the best bits with the factors ``(n, A)`` of all layers."""
        member, widths = self.member, self.member.table.costs.shape[1]
        if self.decision == "correction":
            of_costs = factors[:, np.minimum(np.arange(widths), CORRECTED - 1)]  # (n, widths)
            return SensitivityTable.of(member.space, member.table.costs * of_costs).knapsack.complete(())
        of_costs = np.ones((len(factors), widths))
        of_costs[:, 0] = factors[:, 0]
        of_errors = np.sqrt(of_costs * factors[:, 1:])  # (n, widths), for costs are squares of errors
        scaled = member.interactions * of_errors[:, :, None, None] * of_errors  # (n, widths, n, widths)
        table = SensitivityTable.of(member.space, member.table.costs * of_costs)
        return table.bits(minimise_pairwise(table, TRUST * scaled))

    def _offset(self, offset: int) -> int:
        """Return the knapsack's bits for the next layer plus an offset, reduced until the later layers fit."""
        knapsack, space, before = self.member.table.knapsack, self.member.space, tuple(self._bits)
        chosen = knapsack.complete(before)[len(before)]
        wanted = min(max(chosen + offset, space.min_bits), space.max_bits)
        while wanted > chosen and knapsack.cost_to_go((*before, wanted)) == np.inf:
            wanted -= 1
        return wanted
