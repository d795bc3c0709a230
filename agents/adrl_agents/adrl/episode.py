"""Follow an episode by its observations alone."""

import numpy as np

from adrl_gym import AdrlGymError
from adrl_gym.bits import bits_from_action
from adrl_gym.envs import PREVIOUS_ACTION


class EpisodeTrace:
    """The bits decided so far, read from each observation's layer index and previous action.

    So an agent needs nothing from the environment but what Gymnasium gives it.
    """

    def __init__(self) -> None:
        self._bits: list[int] = []

    def follow(self, observation: np.ndarray, layers: int, min_bits: int, max_bits: int) -> tuple[int, ...]:
        """Return the bits of the layers before this observation's; the same observation may come twice.

        Args:
            observation: ``(10,)``.
            layers: of the problem.
            min_bits: smallest bit-width of the problem.
            max_bits: largest bit-width of the problem.

        Raises:
            AdrlGymError: observations were left out.
        """
        layer = round(float(observation[0]) * (layers - 1))
        if layer > len(self._bits) + 1:
            raise AdrlGymError(
                f"the observation is of layer {layer + 1}, but the layers before it were not shown: "
                "an episode's observations must come in order, from reset() on"
            )
        del self._bits[max(layer - 1, 0) :]
        if layer > 0:
            self._bits.append(bits_from_action(2 * float(observation[PREVIOUS_ACTION]) - 1, min_bits, max_bits))
        return tuple(self._bits)
