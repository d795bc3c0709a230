"""Actions as environments take them: a few numbers in [-1, 1]."""

from typing import Any

import numpy as np

from adrl_gym.errors import AdrlGymError


def check_numbers(action: Any, count: int) -> np.ndarray:
    """Return an action as float64 ``(count,)``; numbers outside [-1, 1] stay as they are.

    Raises:
        AdrlGymError: another shape, no numbers, NaN or infinity.
    """
    try:
        numbers = np.asarray(action, np.float64)  # (count,)
    except (TypeError, ValueError):
        numbers = np.empty(0)  # (0,)
    if numbers.shape != (count,):
        told = "one number" if count == 1 else f"{count} numbers"
        raise AdrlGymError(f"action {action!r}: {told} in [-1, 1], of shape ({count},), is needed")
    if not np.isfinite(numbers).all():
        told = ", ".join(f"{number}" for number in numbers)
        raise AdrlGymError(f"action {told}: a number in [-1, 1] is needed; has the agent diverged?")
    return numbers
