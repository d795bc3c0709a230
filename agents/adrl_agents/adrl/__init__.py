"""ADRL: augmented deep reinforcement learning for quantization (Ning et al., ICLR 2021)."""

from adrl_agents.adrl.adrl import ADRL
from adrl_agents.adrl.config import ADRLConfig, FamilyConfig
from adrl_agents.adrl.distance import DistanceIndicator
from adrl_agents.adrl.family import FamilyADRL, answer_of_file, greedy_bits, load_policy, policy_answer
from adrl_agents.adrl.indicators import Indicator, ProfilingIndicator
from adrl_agents.adrl.policies import action_bins

__all__ = [
    "ADRL",
    "ADRLConfig",
    "DistanceIndicator",
    "FamilyADRL",
    "FamilyConfig",
    "Indicator",
    "ProfilingIndicator",
    "action_bins",
    "answer_of_file",
    "greedy_bits",
    "load_policy",
    "policy_answer",
]
