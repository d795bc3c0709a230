"""HAQ's protocol: the reward after a moment of finetuning."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from torch import Tensor, nn

from adrl_agents.options import ADRLOptions
from adrl_gym import AdrlGymError
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.envs.access import problem_of
from adrl_gym.problem import QuantProblem
from adrl_gym.wrappers.finetune_reward import FinetunedReward
from commands import OWN, search_with
from pictures import make_pictures

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def env(tiny: nn.Module, batches: Batches) -> gym.Env[Any, Any]:
    made = gym.make("adrl_gym/MixedPrecisionQuant-v0", network=tiny, data=batches, budget=0.1, quantizer="linear")
    problem = problem_of(made)
    images, labels = batches[0]
    train = ImageSet(images.flip(0), labels.flip(0))
    splits = Splits(problem.splits.search, ImageSet(images, labels), "random", train=lambda: train)
    made.unwrapped.problem = QuantProblem(tiny, splits, problem.config)  # type: ignore[attr-defined]
    return made


def play(env: gym.Env[Any, Any], action: float) -> tuple[float, dict[str, Any]]:
    env.reset()
    for _ in range(4):
        _, reward, _, _, info = env.step(np.array([action], np.float32))
    return float(reward), info


def test_the_reward_is_that_of_the_finetuned_network(env: gym.Env[Any, Any]) -> None:
    wrapped = FinetunedReward(env, 100)
    direct, (reward, info) = play(env, -0.5)[1], play(wrapped, -0.5)
    problem, network = wrapped.problem, wrapped.finetuned(info["bits"])
    assert info["bits"] == direct["bits"]
    after = problem.measure(network)
    assert (info["accuracy"], info["kl"]) == (after.accuracy, after.kl)
    assert info["kl"] != direct["kl"]
    assert reward == pytest.approx(0.1 * (after.accuracy - problem.float_search.accuracy))
    for layer, bits in zip(problem.layers, info["bits"], strict=True):  # the weights are still on the grid
        for row in network.network.get_parameter(f"{layer.name}.weight").flatten(1):
            assert len(row.unique()) <= 2**bits
    assert wrapped.test(info["bits"]).accuracy == problem.measure(network, "test").accuracy


def test_the_same_bits_give_the_same_reward_and_are_finetuned_once(env: gym.Env[Any, Any]) -> None:
    wrapped = FinetunedReward(env, 100)
    first = play(wrapped, 0.0)
    seconds: list[tuple[int, ...]] = []
    wrapped.finetuned = seconds.append  # type: ignore[assignment, method-assign]
    assert play(wrapped, 0.0)[0] == first[0]
    assert seconds == []
    assert play(FinetunedReward(env, 100), 0.0)[0] == first[0]


def test_too_few_training_images_are_refused(env: gym.Env[Any, Any]) -> None:
    with pytest.raises(AdrlGymError, match="101 images to finetune on, but the data has 100 to train on"):
        FinetunedReward(env, 101)


@pytest.mark.usefixtures("scripts")
def test_agents_search_with_it(tmp_path: Path) -> None:
    make_pictures(tmp_path / "data" / "train", 3, 20)
    make_pictures(tmp_path / "data" / "val", 3, 4)
    own: dict[str, Any] = {"network": f"{OWN / 'branches.py'}:make", "data_root": tmp_path / "data"}
    given = {**own, "images": 12, "quantizer": "linear", "budget": 0.1, "episodes": 2, "cache": "none"}
    result = search_with("adrl", ADRLOptions(**given, finetune_images=48, output=tmp_path / "run"))
    assert (result.status, result.episodes, result.options["finetune_images"]) == ("finished", 2, 48)
    assert result.test_accuracy is not None
