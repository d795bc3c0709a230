"""ADRL: augmented deep reinforcement learning for quantization (Ning et al., ICLR 2021)."""

from adrl_agents.adrl.adrl import ADRL
from adrl_agents.adrl.indicators import DistanceIndicator, Indicator, ProfilingIndicator
from adrl_agents.adrl.policies import shares

__all__ = ["ADRL", "DistanceIndicator", "Indicator", "ProfilingIndicator", "shares"]
