"""The environment of many problems: what it draws, shows, decides and rewards."""

import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.envs import FAMILY_ID, Decisions, FamilyMember, MixedPrecisionQuantFamilyEnv
from families import chain_problem

DECISIONS = ("bits", "offset", "correction", "interactions")


@pytest.fixture(scope="module")
def problems() -> list[QuantProblem]:
    return [chain_problem(0), chain_problem(1, (6, 4, 4, 8), "gptq")]


def play(env: gym.Env[np.ndarray, Any], act: Any, **options: Any) -> tuple[list[np.ndarray], float, dict[str, Any]]:
    """Play one episode; ``act`` gives an action for each step."""
    observation, begun = env.reset(options=options)
    observations, step = [observation], 0
    while True:
        observation, reward, terminated, truncated, info = env.step(act(step))
        observations.append(observation)
        assert not truncated
        if terminated:
            assert begun.items() <= info.items()
            return observations, float(reward), info
        assert reward == 0
        step += 1


@pytest.mark.parametrize("decision", DECISIONS)
def test_both_checks_pass(problems: list[QuantProblem], decision: str) -> None:
    env = gym.make(FAMILY_ID, problems=problems, budgets=(0.05, 0.1), decision=decision).unwrapped
    check_env(env)
    sb3_check_env(env)


@pytest.mark.parametrize("decision", ["offset", "correction"])
def test_zeros_are_the_knapsack_s_answer_and_earn_nothing(problems: list[QuantProblem], decision: Any) -> None:
    env = MixedPrecisionQuantFamilyEnv(problems, decision=decision)
    assert env.action_space.shape is not None
    zeros = np.zeros(env.action_space.shape, np.float32)
    for problem, budget in ((0, 0.05), (1, 0.0625)):
        _, reward, info = play(env, lambda _: zeros, problem=problem, budget=budget)
        assert info["bits"] == env.member(problem, budget).answer
        assert reward == 0
        assert info["kl"] == info["knapsack_kl"]


@pytest.mark.parametrize("decision", DECISIONS)
def test_any_actions_stay_within_budget_and_observations_in_range(problems: list[QuantProblem], decision: Any) -> None:
    env = MixedPrecisionQuantFamilyEnv(problems, (0.035, 0.05, 0.1), decision=decision)
    env.reset(seed=0)
    env.action_space.seed(0)
    seen = set()
    for _ in range(20):
        observations, reward, info = play(env, lambda _: env.action_space.sample())
        assert len(observations) == 1 + len(problems[info["problem"]].layers)
        assert all(env.observation_space.contains(observation) for observation in observations)
        assert info["size_ratio"] <= info["budget"]
        expected = math.log((info["knapsack_kl"] + 1e-6) / (info["kl"] + 1e-6))
        assert reward == pytest.approx(min(max(expected, -1), 1))
        seen.add((info["problem"], info["budget"]))
    assert len(seen) > 3


def test_a_seed_fixes_what_is_drawn(problems: list[QuantProblem]) -> None:
    drawn = []
    for seed in (3, 3, 4):
        env = MixedPrecisionQuantFamilyEnv(problems)
        first = env.reset(seed=seed)[1]
        drawn.append([first, *(env.reset()[1] for _ in range(8))])
    assert drawn[0] == drawn[1] != drawn[2]
    assert {told["network"] for told in drawn[0]} == {"chain0", "chain1"}
    assert {(told["network"], told["quantizer"]) for told in drawn[0]} == {("chain0", "linear"), ("chain1", "gptq")}


def test_vectorised(problems: list[QuantProblem]) -> None:
    envs = gym.make_vec(FAMILY_ID, 2, vectorization_mode="sync", problems=problems[:1], decision="offset")
    envs.reset(seed=0)
    for _ in range(4):
        _, rewards, terminated, _, infos = envs.step(np.array([[0.0], [-1.0]], np.float32))
    envs.close()
    assert terminated.all()
    assert rewards[0] == 0
    assert infos["kl"][0] != infos["kl"][1]


def test_a_table_is_made_once(problems: list[QuantProblem]) -> None:
    problem = chain_problem(2)
    env = MixedPrecisionQuantFamilyEnv([problem])
    env.reset(options={"budget": 0.1})
    made = problem.evaluations
    assert made > 1
    for budget in (0.05, 0.0625, 0.1):
        env.reset(options={"budget": budget})
    assert problem.evaluations == made


def test_units_are_the_same_whatever_the_network(problems: list[QuantProblem]) -> None:
    problem = problems[0]
    costs = np.array([[2.0 ** -(2 * b) * (layer + 1) for b in range(8)] for layer in range(4)])
    one, other = (FamilyMember(problem, 0.0625, scale * costs) for scale in (1.0, 0.1))
    first, second = (member.observation((), 0.0) for member in (one, other))
    differing = np.flatnonzero(~np.isclose(first, second))
    assert differing.tolist() == [len(first) - 5]  # the predicted divergence itself
    assert first[-5] - second[-5] == pytest.approx(1 / 6)  # a decade of six
    assert first[10] - first[11] == pytest.approx(math.log10(4) / 8, abs=1e-6)


def test_what_is_decided_changes_budget_and_choice(problems: list[QuantProblem]) -> None:
    member = MixedPrecisionQuantFamilyEnv(problems).member(0, 0.0625)
    few, many = member.observation((1,), 0.0), member.observation((8,), 0.0)
    assert few[-2] > many[-2]
    assert few[-1] >= many[-1]
    whole = member.observation(member.answer[:-1], 0.25)
    assert whole[-1] == pytest.approx((member.answer[-1] - 1) / 7)
    assert whole[9] == 0.25


def test_corrections_change_what_the_knapsack_chooses(problems: list[QuantProblem]) -> None:
    env = MixedPrecisionQuantFamilyEnv(problems, decision="correction")
    answer = env.member(0, 0.05).answer
    layer = answer.index(1)

    def dearer(step: int) -> np.ndarray:
        return np.array([1.0, 0, 0] if step == layer else [-1.0, 0, 0], np.float32)  # of 1 bit here, cheaper elsewhere

    _, _, info = play(env, dearer, problem=0, budget=0.05)
    assert info["bits"][layer] > 1


def test_interactions_change_what_is_chosen(problems: list[QuantProblem]) -> None:
    costs = np.array([[4.0 ** -(b + 1) for b in range(8)]] * 4)  # (n, widths)
    none = FamilyMember(problems[0], 0.0625, costs)
    both = np.zeros((4, 8, 4, 8))
    both[0, :, 1] = both[1, :, 0] = 3 * np.sqrt(costs[0][:, None] * costs[1])  # errors of the first two add up
    member = FamilyMember(problems[0], 0.0625, costs, both)

    def bits(of: FamilyMember, trust: float) -> tuple[int, ...]:
        decisions = Decisions(of, "interactions")
        while not decisions.done():
            decisions.take(np.array([0, trust]))
        return decisions.bits()

    assert bits(none, 1.0) == none.answer == member.answer
    more = bits(member, 1.0)
    assert member.space.fits(member.space.with_fixed(more))
    assert sum(more[:2]) > sum(member.answer[:2])
    seen = [member.observation((1,) * layer, 0.0) for layer in range(4)]
    assert [observation[-3] > 0.5 for observation in seen] == [True, True, False, False]
    assert seen[0][-4] > 0.5 == none.observation((), 0.0)[-4]


def test_offsets_are_relative_to_what_was_decided(problems: list[QuantProblem]) -> None:
    env = MixedPrecisionQuantFamilyEnv(problems, decision="offset")
    member = env.member(0, 0.0625)
    _, _, info = play(env, lambda step: np.array([0.5 if step == 0 else 0.0]), problem=0, budget=0.0625)
    assert info["bits"][0] == member.answer[0] + 1
    assert info["bits"] == member.table.knapsack.complete(info["bits"][:1])


def test_pickle(problems: list[QuantProblem]) -> None:
    env = MixedPrecisionQuantFamilyEnv(problems, decision="bits")
    copy = pickle.loads(pickle.dumps(env))
    both = [play(each, lambda _: [0.1], problem=1, budget=0.1)[2]["kl"] for each in (env, copy)]
    assert both[0] == both[1]


def test_bad_input_is_told(problems: list[QuantProblem]) -> None:
    with pytest.raises(AdrlGymError, match="must not be empty"):
        MixedPrecisionQuantFamilyEnv([])
    with pytest.raises(
        AdrlGymError, match="unknown decision 'guess': choose one of bits, offset, correction, interactions"
    ):
        MixedPrecisionQuantFamilyEnv(problems, decision="guess")  # type: ignore[arg-type]
    narrow = QuantProblem(problems[0].network, problems[0].splits, quantizer="linear", bits=(2, 4))
    with pytest.raises(AdrlGymError, match="the same range"):
        MixedPrecisionQuantFamilyEnv([*problems, narrow])
    env = MixedPrecisionQuantFamilyEnv(problems)
    with pytest.raises(AdrlGymError, match=r"call reset\(\)"):
        env.step(np.zeros(3))
    for options, message in (
        ({"network": 0}, "unknown option 'network'"),
        ({"problem": 2}, "from 0 to 1, got 2"),
        ({"budget": 0.01}, "smallest possible"),
    ):
        with pytest.raises(AdrlGymError, match=message):
            env.reset(options=options)
    env.reset()
    with pytest.raises(AdrlGymError, match=r"3 numbers in \[-1, 1\], of shape \(3,\)"):
        env.step(np.zeros(1))
