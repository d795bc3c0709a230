"""HAQ: the DDPG of Wang et al. (CVPR 2019) on Stable-Baselines3."""

from adrl_agents.haq.haq import HAQ

__all__ = ["HAQ"]
