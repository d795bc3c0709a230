"""Search bit-widths with Stable-Baselines3's own DDPG, untouched: the baseline below HAQ and ADRL."""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise

from adrl_agents.options import Options
from adrl_agents.runner import run_command_line, run_search
from adrl_gym.result import SearchResult


def main(options: Options) -> SearchResult:
    """One search with DDPG, as SB3's documentation has it, but trained once an episode like HAQ."""

    def make_agent(env: gym.Env[Any, Any]) -> DDPG:
        noise = NormalActionNoise(np.zeros(1), np.full(1, 0.1))  # actions span [-1, 1]
        return DDPG(
            "MlpPolicy",
            env,
            action_noise=noise,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            buffer_size=100_000,
            seed=options.seed,
            device="cpu",  # small layers: a GPU would be slower
        )

    return run_search("ddpg", options, make_agent)


if __name__ == "__main__":
    sys.exit(run_command_line(main, Options, __doc__))
