"""Agents in environments of another kind, or of another problem, than they were made in."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import (
    ClipAction,
    FrameStackObservation,
    MaxAndSkipObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
    RescaleAction,
    RescaleObservation,
    TimeLimit,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from adrl_agents import ADRL, HAQ
from adrl_agents.adrl import ProfilingIndicator
from adrl_gym import AdrlGymError

Batches = list[tuple[Tensor, Tensor]]


def make(network: nn.Module, batches: Batches, **changes: Any) -> gym.Env[Any, Any]:
    keywords = {"budget": 0.1, "quantizer": "linear", "images": 100, **changes}
    return gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=batches, **keywords)


WRAPPED: dict[str, Any] = {
    "RescaleAction": lambda env: RescaleAction(env, np.float32(0), np.float32(1)),
    "ClipAction": ClipAction,
    "MaxAndSkipObservation": lambda env: MaxAndSkipObservation(env, 2),
    "NormalizeObservation": NormalizeObservation,
    "RescaleObservation": lambda env: RescaleObservation(env, np.float32(-1), np.float32(1)),
    "FrameStackObservation": lambda env: FrameStackObservation(env, 2),
    "VecNormalize": lambda env: VecNormalize(DummyVecEnv([lambda: env])),
}


@pytest.mark.parametrize("agent", [ADRL, HAQ])
@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrappers_that_change_what_numbers_mean_are_refused(
    tiny: nn.Module, batches: Batches, agent: type[HAQ], wrapper: str
) -> None:
    message = f"{wrapper} changes the environment's actions or observations, and {agent.__name__} needs them"
    with pytest.raises(AdrlGymError, match=message):
        agent("MlpPolicy", WRAPPED[wrapper](make(tiny, batches)))
    made = agent("MlpPolicy", make(tiny, batches))
    with pytest.raises((AdrlGymError, ValueError), match=r"changes the environment|paces do not match"):
        made.set_env(WRAPPED[wrapper](make(tiny, batches)))


@pytest.mark.parametrize("agent", [ADRL, HAQ])
def test_wrappers_that_only_watch_are_taken(tiny: nn.Module, batches: Batches, agent: type[HAQ]) -> None:
    watched = RecordEpisodeStatistics(TimeLimit(make(tiny, batches), 4))
    agent("MlpPolicy", Monitor(watched)).learn(8)
    agent("MlpPolicy", VecMonitor(DummyVecEnv([lambda: watched]))).learn(8)


@pytest.mark.parametrize("change", [{"budget": 0.07}, {"images": 50}, {"quantizer": "kmeans"}])
def test_a_loaded_agent_forgets_what_it_knew_of_another_problem(
    tiny: nn.Module, batches: Batches, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Its old best, of a larger budget, would never be beaten."""
    agent = ADRL("MlpPolicy", make(tiny, batches, budget=0.2), seed=0)
    agent.learn(4 * 3)
    agent.save(tmp_path / "agent.zip")
    other = make(tiny, batches, **{"budget": 0.2, **change})
    loaded = ADRL.load(tmp_path / "agent.zip", env=other)
    loaded.learn(4 * 3, reset_num_timesteps=False)
    problem = other.unwrapped.problem  # type: ignore[attr-defined]
    assert isinstance(loaded.indicator, ProfilingIndicator)
    assert loaded.indicator._identity == problem.identity
    best = loaded.indicator._best
    assert best is not None
    assert problem.fits(best)


def test_a_loaded_agent_keeps_what_it_knew_of_the_same_problem(
    tiny: nn.Module, batches: Batches, tmp_path: Path
) -> None:
    agent = ADRL("MlpPolicy", make(tiny, batches), seed=0)
    agent.learn(4 * 3)
    agent.save(tmp_path / "agent.zip")
    loaded = ADRL.load(tmp_path / "agent.zip", env=make(tiny, batches))
    assert isinstance(loaded.indicator, ProfilingIndicator)
    before = set(loaded.indicator._tried)
    loaded.learn(4, reset_num_timesteps=False)
    assert before < loaded.indicator._tried or before == loaded.indicator._tried
    assert len(before) >= 2


@pytest.mark.parametrize("change", [{"bits": (2, 8)}, {"keep": {"fc1": 4}}])
def test_another_number_of_layers_or_bits_is_told(
    tiny: nn.Module, batches: Batches, tmp_path: Path, change: dict[str, Any]
) -> None:
    ADRL("MlpPolicy", make(tiny, batches, budget=0.2), seed=0).save(tmp_path / "agent.zip")
    other = make(tiny, batches, **{"budget": 0.2, **change})
    loaded = ADRL.load(tmp_path / "agent.zip", env=other)
    with pytest.raises(AdrlGymError, match=r"made for 4 searched layers of 1 to 8 bits, and the environment has"):
        loaded.predict(other.reset()[0])
