"""Arguments and actions that the environment refuses."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError, MixedPrecisionQuantEnv
from commands import OWN
from environments import Batches, make_env, play

GENERIC = "adrl_gym/MixedPrecisionQuant-v0"
IMAGES = [(torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3)]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"budget": 0.01}, r"smallest possible is 0\.03125"),
        ({"budget": float("nan")}, "budget=nan: a number is needed"),
        ({"bits": (0, 8)}, "1 <= min_bits"),
        ({"bits": (5, 3)}, "1 <= min_bits"),
        ({"quantizer": "ternary"}, "ternary"),
        ({"action_type": "wild"}, "continuous or discrete"),
        ({"render_mode": "hologram"}, "ansi or rgb_array"),
        ({"weights": "file.pt"}, "named network"),
        ({"images": 0}, "images=0: an integer of at least 1"),
        ({"images": 2.5}, "images=2.5: an integer of at least 1"),
        ({"bits": 4}, "bits must be two integers .*, got 4"),
        ({"bits": (2.0, 4.0)}, "bits must be two integers with 1"),
        ({"budget": "0.1"}, "budget='0.1': a number is needed"),
        ({"keep": {"fc1": True}}, "keep fc1=True: a bit-width is an integer"),
        ({"device": "gpu"}, "device gpu cannot be used here: choose auto or cpu"),
        ({"device": "cpu,abacus"}, "device abacus cannot be used here"),
        ({"calibration": "finetuned"}, "unknown calibration 'finetuned'"),
        ({"data_root": "/images"}, "data_root and download say where named data are"),
        ({"download": True}, "data_root and download say where named data are"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode.*")
def test_bad_arguments_are_refused(tiny: nn.Module, batches: Batches, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        make_env(tiny, batches, **keywords)


def test_nan_weights_are_refused_with_the_layer_s_name(tiny: nn.Module, batches: Batches) -> None:
    with torch.no_grad():
        tiny.get_parameter("conv2.weight")[0, 0] = torch.nan
    with pytest.raises(AdrlGymError, match="conv2"):
        make_env(tiny, batches)


def test_a_diverged_agent_is_told(tiny: nn.Module, batches: Batches) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.1, quantizer="linear")
    env.reset()
    with pytest.raises(AdrlGymError, match="diverged"):
        env.step(np.array([np.nan], np.float32))


def test_labels_out_of_range_are_refused(tiny: nn.Module, batches: Batches) -> None:
    images, labels = batches[0]
    with pytest.raises(AdrlGymError, match=r"label"):
        make_env(tiny, [(images, labels + 100)])


def test_images_that_do_not_fit_are_refused(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"\(1, 8, 8\)"):
        make_env(tiny, [(torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long))])


def test_paths_and_devices_may_be_objects(tmp_path: Path, tiny: nn.Module, batches: Batches) -> None:
    with pytest.raises(AdrlGymError, match=r"there is no data-free set .*mine\.npz"):
        gym.make(GENERIC, network=tiny, data=tmp_path / "mine.npz")
    env = gym.make(
        GENERIC,
        network=f"{OWN / 'branches.py'}:make",
        data=IMAGES,
        budget=0.2,
        quantizer="linear",
        device=torch.device("cpu"),
    )
    assert env.unwrapped.problem.name == "make"  # type: ignore[attr-defined]


def test_numpy_s_integers_are_taken_everywhere(tiny: nn.Module, batches: Batches) -> None:
    two, four = np.array([2, 4])
    env = make_env(tiny, batches, bits=(two, four), keep={"fc2": four}, images=np.int64(50))
    _, _, info = play(env, [0.0] * 3)
    assert info["bits"][3] == 4
    assert all(type(b) is int for b in info["bits"])


@pytest.mark.parametrize("action_type", ["continuous", "discrete"])
def test_a_step_after_the_last_one_asks_for_a_reset(tiny: nn.Module, batches: Batches, action_type: str) -> None:
    env = make_env(tiny, batches, action_type=action_type)
    env.reset()
    for _ in range(4):
        env.step(env.action_space.sample())
    with pytest.raises(AdrlGymError, match=r"the episode has ended .* call reset\(\)"):
        env.step(env.action_space.sample())
    env.reset()
    assert not env.step(env.action_space.sample())[2]


@pytest.mark.parametrize("action", [np.array([3]), 2.7, np.float32(3), 8, -1, "3", None])
def test_discrete_actions_that_cannot_be(tiny: nn.Module, batches: Batches, action: Any) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.1, quantizer="linear", action_type="discrete")
    env.reset()
    with pytest.raises(AdrlGymError, match="an integer from 0 to 7 is needed"):
        env.step(action)


@pytest.mark.parametrize("action", [0.5, np.zeros(2), np.zeros((1, 1)), np.zeros(0), [[0.1], [0.2, 0.3]], ["x"], None])
def test_continuous_actions_that_cannot_be(tiny: nn.Module, batches: Batches, action: Any) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.1, quantizer="linear")
    env.reset()
    with pytest.raises(AdrlGymError, match=r"of shape \(1,\), is needed"):
        env.step(action)
