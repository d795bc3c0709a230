"""Gymnasium wrappers of the environments."""

from adrl_gym.wrappers.finetune_reward import FinetunedReward

__all__ = ["FinetunedReward"]
