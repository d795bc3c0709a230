"""Meanings of a family's actions: how the actions of one episode become a bit configuration."""

from typing import Any, Literal, get_args

import numpy as np

from adrl_gym.bits import bits_from_action
from adrl_gym.envs.actions import check_numbers
from adrl_gym.envs.member import FamilyMember
from adrl_gym.errors import AdrlGymError
from adrl_gym.sensitivity import SensitivityTable

Decision = Literal["bits", "offset", "correction"]
OFFSET_REACH = 2  # bits up and down that an offset can be
CORRECTED = 3  # parts of a layer's row that have a factor each: fewest bits, one more, all others
CORRECTION_REACH = 1.5  # natural logarithm of the largest factor


def action_size(decision: Decision) -> int:
    """Return how many numbers an action of this meaning has; raises ``AdrlGymError`` for an unknown one."""
    if decision not in get_args(Decision):
        raise AdrlGymError(
            f"unknown decision {decision!r}: choose one of {', '.join(get_args(Decision))}", parameter="decision"
        )
    return CORRECTED if decision == "correction" else 1


class Decisions:
    """Decisions of one episode on one member, layer after layer.

    - ``bits``: HAQ's action; the whole configuration is projected by HAQ's action wall.
    - ``offset``: bits more or less than the knapsack would choose here, given the layers before. An offset after which
      the later layers cannot meet the budget is reduced. Zero is the knapsack's own answer.
    - ``correction``: logarithms of factors on the layer's row of the table, for the fewest bits, one more, and all
      others. After the last layer the knapsack chooses on the corrected table. Zero is the knapsack's own answer.

    Args:
        member: network, quantizer and budget.
        decision: meaning of the actions.
    """

    def __init__(self, member: FamilyMember, decision: Decision) -> None:
        self.member, self.decision, self._size = member, decision, action_size(decision)
        self._bits: list[int] = []
        self._factors: list[np.ndarray] = []  # of each layer so far (widths,)
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
            part = np.minimum(np.arange(self.member.table.costs.shape[1]), CORRECTED - 1)  # (widths,)
            self._factors.append(np.exp(CORRECTION_REACH * numbers[part]))
            self._bits.append(self.member.answer[layer])

    def bits(self) -> tuple[int, ...]:
        """Return the bits of the searched layers, within the budget; after the last layer."""
        member = self.member
        if self.decision == "correction":
            costs = member.table.costs * np.array(self._factors)  # (n, widths)
            return SensitivityTable.of(member.space, costs).knapsack.complete(())
        whole = member.space.project(member.space.with_fixed(self._bits))
        return tuple(whole[place] for place in member.space.searchable)

    def _offset(self, offset: int) -> int:
        """Return the knapsack's bits for the next layer plus an offset, reduced until the later layers fit."""
        knapsack, space, before = self.member.table.knapsack, self.member.space, tuple(self._bits)
        chosen = knapsack.complete(before)[len(before)]
        wanted = min(max(chosen + offset, space.min_bits), space.max_bits)
        while wanted > chosen and knapsack.cost_to_go((*before, wanted)) == np.inf:
            wanted -= 1
        return wanted
