"""Registered ids, vectorized environments and time limits."""

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from torch import nn

from adrl_agents import HAQ
from adrl_gym import AdrlGymError
from adrl_gym.envs import check_time_limit
from adrl_gym.envs.registration import IDS
from commands import OWN
from environments import Batches, make_env

GENERIC = "adrl_gym/MixedPrecisionQuant-v0"


def test_all_ids_are_registered() -> None:
    assert set(IDS) <= set(gym.registry)
    assert len(IDS) == 6


def test_the_generic_id_without_arguments_is_resnet20() -> None:
    env = gym.make("MixedPrecisionQuant-v0", data="data-free", images=8, quantizer="linear")
    assert env.unwrapped.problem.name == "resnet20"  # type: ignore[attr-defined]
    sb3_check_env(env.unwrapped)


IMAGES = [(torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3)]


def test_vector_environments() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2, 1)).astype(np.float32)  # (layers, environments, 1)
    seen = []
    for mode, keywords in (("sync", {}), ("async", {"context": "spawn"})):
        options: dict[str, Any] = {
            "network": f"{OWN / 'branches.py'}:make",
            "data": IMAGES,
            "budget": 0.2,
            "quantizer": "linear",
        }
        envs = gym.make_vec(GENERIC, 2, vectorization_mode=mode, vector_kwargs=keywords, **options)
        envs.reset(seed=0)
        for here in actions:
            observations, rewards, terminated, _, infos = envs.step(here)
        envs.close()
        assert terminated.all()
        seen.append((observations.tolist(), rewards.tolist(), infos["bits"].tolist()))
    assert seen[0] == seen[1]


def test_a_time_limit_below_the_layers_says_so(tiny: nn.Module, batches: Batches) -> None:
    enough = make_env(tiny, batches, max_episode_steps=4)
    check_time_limit(enough, 4)
    HAQ(env=enough)
    wrapped = RecordEpisodeStatistics(TimeLimit(make_env(tiny, batches), 3))
    for short in (make_env(tiny, batches, max_episode_steps=3), wrapped):
        with pytest.raises(AdrlGymError, match="max_episode_steps must be at least 4, got 3: an episode has one step "):
            HAQ(env=short)


def test_ids_need_no_import_and_are_registered_once() -> None:
    code = """
import warnings
warnings.simplefilter("error")
import gymnasium
env = gymnasium.make("adrl_gym:adrl_gym/CifarNet-Cifar10-v0", data="data-free", images=8, quantizer="linear")
import adrl_gym
adrl_gym.envs.register_envs()
gymnasium.register_envs(adrl_gym)
print(env.spec.id)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("adrl_gym/CifarNet-Cifar10-v0\n", "")
