"""HAQ: the DDPG of Wang et al. (CVPR 2019) on Stable-Baselines3."""

from adrl_agents.haq.config import HAQConfig
from adrl_agents.haq.haq import HAQ
from adrl_agents.haq.noise import truncated_normal
from adrl_agents.haq.replay import EpisodeReplayBuffer

__all__ = ["HAQ", "EpisodeReplayBuffer", "HAQConfig", "truncated_normal"]
