"""Agents that search bit-widths in the environments of ``adrl_gym``, on Stable-Baselines3."""

try:
    import stable_baselines3  # noqa: F401
except ImportError as error:
    raise ImportError('adrl_agents needs Stable-Baselines3: pip install "adrl-gym[agents]"') from error

from adrl_agents.adrl import ADRL
from adrl_agents.haq import HAQ

__all__ = ["ADRL", "HAQ"]
