"""The one way from an environment to its problem."""

from typing import Any

import gymnasium as gym

from adrl_gym.errors import AdrlGymError
from adrl_gym.problem import QuantProblem


def problem_of(env: gym.Env[Any, Any]) -> QuantProblem:
    """Return the quantization problem of an environment, wrapped or not.

    Raises:
        AdrlGymError: it is no environment of this package.
    """
    problem = getattr(env.unwrapped, "problem", None)
    if not isinstance(problem, QuantProblem):
        raise AdrlGymError(f"{env.unwrapped} has no quantization problem: give an environment of adrl_gym")
    return problem
