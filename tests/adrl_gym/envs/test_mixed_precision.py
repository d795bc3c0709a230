"""The environment as users of Gymnasium and Stable-Baselines3 use it."""

import pickle
import threading
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from adrl_gym import MixedPrecisionQuantEnv
from adrl_gym.bits import action_from_bits
from adrl_gym.evaluation.result_cache import ResultCache
from adrl_gym.quantization.layerwise import quantize_layers
from environments import Batches, make_env, play

GENERIC = "adrl_gym/MixedPrecisionQuant-v0"


@pytest.mark.parametrize("action_type", ["continuous", "discrete"])
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_gymnasium_check(tiny: nn.Module, batches: Batches, action_type: str, render_mode: str) -> None:
    check_env(make_env(tiny, batches, action_type=action_type, render_mode=render_mode).unwrapped)


@pytest.mark.parametrize("action_type", ["continuous", "discrete"])
def test_stable_baselines_check(tiny: nn.Module, batches: Batches, action_type: str) -> None:
    sb3_check_env(make_env(tiny, batches, action_type=action_type, render_mode="rgb_array").unwrapped)


def test_the_same_actions_give_the_same_episode_in_any_history(tiny: nn.Module, batches: Batches) -> None:
    actions = [0.3, -0.6, 0.9, -0.1]
    fresh = play(make_env(tiny, batches), actions)
    used = make_env(tiny, batches)
    play(used, [1.0, 1.0, 1.0, 1.0])
    again = play(used, actions)
    np.testing.assert_array_equal(fresh[0], again[0])
    assert fresh[1] == again[1]
    assert {k: fresh[2][k] for k in ("bits", "accuracy", "kl")} == {k: again[2][k] for k in ("bits", "accuracy", "kl")}


def test_the_reward_is_a_tenth_of_the_accuracy_lost(tiny: nn.Module, batches: Batches) -> None:
    env = make_env(tiny, batches, budget=0.25)
    _, rewards, info = play(env, [action_from_bits(b, 1, 8) for b in (8, 3, 2, 1)])
    problem = env.unwrapped.problem  # type: ignore[attr-defined]
    assert rewards[:-1] == [0, 0, 0]
    assert rewards[-1] == pytest.approx(0.1 * (info["accuracy"] - problem.float_search.accuracy))
    assert info["bits"] == info["chosen_bits"] == (8, 3, 2, 1)
    # measured by hand: the quantized network on all search images
    images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    params = quantize_layers(
        tiny, problem.layers, images, quantizer=problem.quantizer, bits=range(1, 9), bias_correction=True
    )
    for layer, table, b in zip(problem.layers, params, (8, 3, 2, 1), strict=True):
        module = tiny.get_submodule(layer.name)
        module.load_state_dict({"weight": table[b].weight, "bias": table[b].bias})
    right = (tiny(images).argmax(1) == labels).float().mean()
    assert info["accuracy"] == pytest.approx(100 * float(right), abs=1e-4)


def test_what_breaks_the_budget_is_projected_and_both_are_told(tiny: nn.Module, batches: Batches) -> None:
    env = make_env(tiny, batches, budget=0.1)
    _, _, info = play(env, [1.0] * 4)
    assert info["chosen_bits"] == (8, 8, 8, 8)
    assert info["size_ratio"] <= 0.1
    assert info["bits"] == env.unwrapped.problem.project((8, 8, 8, 8))  # type: ignore[attr-defined]


def test_observations_show_the_previous_action(tiny: nn.Module, batches: Batches) -> None:
    observations, _, _ = play(make_env(tiny, batches), [0.5, -1.0, 1.0, 0.0])
    assert [float(o[9]) for o in observations] == [0.0, 0.75, 0.0, 1.0, 0.5]
    np.testing.assert_allclose([o[0] for o in observations[:4]], [0, 1 / 3, 2 / 3, 1], rtol=1e-6)


def test_bits_evaluated_twice_are_computed_once(tiny: nn.Module, batches: Batches) -> None:
    env = make_env(tiny, batches)
    problem = env.unwrapped.problem  # type: ignore[attr-defined]
    play(env, [0.0] * 4)
    assert (problem.memo_hits, problem.memo_misses, problem.evaluations) == (0, 1, 1.0)
    play(env, [0.0] * 4)
    assert (problem.memo_hits, problem.memo_misses, problem.evaluations) == (1, 1, 1.0)


def test_quantized_weights_never_reach_the_user_s_network(tiny: nn.Module, batches: Batches) -> None:
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    play(make_env(tiny, batches), [-1.0] * 4)
    after = tiny.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_pickle(tiny: nn.Module, batches: Batches) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.1, quantizer="linear")
    copy = pickle.loads(pickle.dumps(env))
    assert play(env, [0.2] * 4)[2]["kl"] == play(copy, [0.2] * 4)[2]["kl"]


def test_vectorised(tiny: nn.Module, batches: Batches) -> None:
    env = DummyVecEnv([lambda: make_env(tiny, batches), lambda: make_env(tiny, batches)])
    env.reset()
    for step in range(4):
        _, rewards, dones, infos = env.step(np.array([[0.9], [-0.9]], np.float32))
        assert dones.all() == (step == 3)
    assert infos[0]["bits"] != infos[1]["bits"]
    assert rewards.shape == (2,)


def test_accuracy_without_labels_is_agreement(tiny: nn.Module) -> None:
    env = gym.make("adrl_gym/CifarNet-Cifar10-v0", data="data-free", images=16, quantizer="linear", budget=0.1)
    _, _, info = play(env, [-0.5] * 5)
    assert info["accuracy"] == info["agreement"]
    assert env.unwrapped.problem.float_search.accuracy == 100  # type: ignore[attr-defined]


@pytest.mark.parametrize("calibration", ["independent", "sequential"])
def test_close_lets_go_of_file_and_threads(
    tmp_path: Path, tiny: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch, calibration: str
) -> None:
    caches: list[ResultCache] = []

    def open_cache(path: Path | None, fingerprint: str) -> ResultCache:
        caches.append(ResultCache(path, fingerprint))
        return caches[-1]

    monkeypatch.setattr("adrl_gym.evaluation.session.ResultCache", open_cache)
    options = {"cache": tmp_path / "cache.sqlite", "calibration": calibration, "device": "cpu,cpu"}  # each has a thread
    others = set(threading.enumerate())
    env = make_env(tiny, batches, **options)
    before = play(env, [0.0] * 4)[2]
    assert len(caches) == (1 if calibration == "independent" else 2)
    workers = {thread for thread in set(threading.enumerate()) - others if thread.name.startswith("ThreadPool")}
    assert len(workers) == 2
    for _ in range(2):
        env.close()
    assert not any(worker.is_alive() for worker in workers)
    assert all(cache._database is None for cache in caches)
    assert not (tmp_path / "cache.sqlite-wal").exists()  # the last connection puts it into the file
    assert play(env, [0.0] * 4)[2]["kl"] == before["kl"]
    again = make_env(tiny, batches, **options)
    assert play(again, [0.0] * 4)[2]["memo_hits"] == 1
    for each in (env, again):
        each.close()
