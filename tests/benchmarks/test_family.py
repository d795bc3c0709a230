"""The evaluation of pretrained policies: rows of every method, its table and figure, and what searches reached."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
import torch

from adrl_agents.adrl.family import FamilyADRL
from adrl_agents.options import ADRLOptions
from adrl_agents.runs import Episode, write_rows
from adrl_gym import QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.envs import FAMILY_ID, MixedPrecisionQuantFamilyEnv
from benchmarks.family import evaluate, figure, others, policies, searches
from benchmarks.family.ablations import KNAPSACK, SENSITIVITIES, hiding
from benchmarks.family.networks import UNSEEN
from benchmarks.family.searches import evaluations_to, least_kl
from benchmarks.harness.csv_file import read_rows
from benchmarks.reporting.family_tables import family_searches_table, family_table, interval, setting_means
from families import chain_problem


def with_test_images(seed: int) -> QuantProblem:
    problem = chain_problem(seed)
    generator = torch.Generator().manual_seed(9)
    test = ImageSet(torch.randn(50, 3, 8, 8, generator=generator), torch.arange(50) % 5)
    splits = dataclasses.replace(problem.splits, test=test)
    return QuantProblem(problem.network, splits, name=problem.name, quantizer=problem.quantizer)


def test_every_method_has_a_row_and_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = FamilyADRL(env=gym.make(FAMILY_ID, problems=[chain_problem(0)], decision="offset"), seed=0)
    for seed in (0, 1):
        (tmp_path / f"offset-s{seed}").mkdir()
        agent.save(tmp_path / f"offset-s{seed}" / "policy.zip")
    problems = [with_test_images(3)]
    monkeypatch.setattr(evaluate, "unseen", lambda _: problems)
    options = evaluate.Options(
        data_root=tmp_path, policies=tmp_path, budgets=(0.05, 0.1), test_images=40, perturbations=1, results=tmp_path
    )
    evaluate.main(options)
    rows = read_rows(tmp_path / "family.csv")
    without = [f"interactions-{of}" for of in ("35", "35+knapsack", "100", "100+knapsack")]
    methods = ["knapsack", *without, "perturbed+knapsack", *["offset", "offset+knapsack"] * 2]
    assert [row["method"] for row in rows] == 2 * methods
    by_method = {row["method"]: row for row in rows[:10]}
    assert float(by_method["offset"]["log_ratio"]) == 0  # untrained: the knapsack's answer
    assert float(by_method["knapsack"]["kl_less_knapsack"]) == 0
    chosen, knapsack = by_method["perturbed+knapsack"], by_method["knapsack"]
    assert float(chosen["search_kl"]) <= float(knapsack["search_kl"])
    ratio = float(chosen["kl"]) / float(knapsack["kl"])
    assert math.exp(float(chosen["log_ratio"])) == pytest.approx(ratio, rel=1e-4)
    monkeypatch.setattr(evaluate, "whole_logits", None)  # nothing is left to measure
    evaluate.main(options)
    assert read_rows(tmp_path / "family.csv") == rows

    table = family_table(tmp_path)
    assert table.splitlines()[0] == "| answer of | 0.05 | 0.1 | all | clearly better / worse |"
    assert "| `offset` | 1.000 (nan to nan) | 1.000 (nan to nan) | 1.000 (1.000 to 1.000) | 0 / 0 of 4 |" in table
    figure.main(figure.Options(results=tmp_path, output=tmp_path / "family.png"))
    assert (tmp_path / "family.png").stat().st_size > 1000


def test_means_are_over_seeds_first_and_intervals_over_settings() -> None:
    def row(network: str, ratio: float) -> dict[str, str]:
        return {"network": network, "quantizer": "gptq", "budget": "0.1", "log_ratio": str(ratio)}

    means = setting_means([row("a", 0.1), row("a", 0.3), row("b", -0.2)])
    assert means == pytest.approx([0.2, -0.2])
    mean, low, high = interval(means)
    assert mean == pytest.approx(1)
    assert math.log(high) == pytest.approx(1.96 * math.sqrt(0.08) / math.sqrt(2))
    assert low * high == pytest.approx(1)


def test_what_a_search_has_after_some_evaluations() -> None:
    kls = [(3.0, 0.5), (6.0, 0.2), (9.0, 0.3), (20.0, 0.1)]
    history = [
        Episode(
            episode=number,
            reward=0,
            accuracy=0,
            best_accuracy=0,
            evaluations=evaluations,
            seconds=0,
            agreement=0,
            kl=kl,
            average_bits=2,
            bits="",
            cpu_seconds=0,
            cost_ratios="",
        )
        for number, (evaluations, kl) in enumerate(kls, 1)
    ]
    assert [least_kl(history, point) for point in (1, 5, 10, 40)] == [None, 0.5, 0.2, 0.1]
    assert evaluations_to(history, 0.25) == 6
    assert evaluations_to(history, 0.05) is None


def test_policies_learn_from_no_network_that_is_held_out(tmp_path: Path) -> None:
    for name in ("plain8", "resnet16", *UNSEEN):
        (tmp_path / f"{name}.safetensors").touch()
    options = policies.Options(data_root=tmp_path, weights=tmp_path, output=tmp_path)
    for design in (*policies.DESIGNS, *policies.ABLATED):
        made = policies.training(options, design, 1)
        made.check()
        assert [name.rpartition(":")[2] for name in made.networks] == ["plain8", "resnet16"]
        assert made.decision == design.split("-")[0]
        assert made.output == tmp_path / f"{design}-s1"


@pytest.mark.parametrize("hidden", [SENSITIVITIES, KNAPSACK])
def test_an_ablated_policy_does_not_see_what_is_hidden(hidden: tuple[int, ...], tmp_path: Path) -> None:
    env = gym.make(FAMILY_ID, problems=[chain_problem(0)], decision="offset")
    agent = FamilyADRL(env=env, seed=0, policy_kwargs=hiding(hidden))
    agent.save(tmp_path / "policy.zip")
    loaded, decision = others.load_answering(tmp_path / "policy.zip")
    assert decision == "offset"
    seen, _ = env.reset(seed=0)
    for place in range(-7, 18):
        changed = seen.copy()
        changed[place] = 1 - changed[place]
        same = (loaded.predict(changed)[0] == loaded.predict(seen)[0]).all()
        assert same == (place in hidden)


def kill(*_: object) -> None:
    raise KeyboardInterrupt


def test_other_agents_train_for_as_many_episodes_and_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = chain_problem(0)
    monkeypatch.setattr(others, "family_problems", lambda *_, **__: [problem])
    options = others.Options(data_root=tmp_path, output=tmp_path, episodes=2)
    with monkeypatch.context() as patch:  # a kill leaves no file that would be taken for a policy
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            others.main(options)
    assert not list(tmp_path.glob("*/*"))
    others.main(options)
    member = MixedPrecisionQuantFamilyEnv([problem]).member(0, 0.05)
    for name in others.ALGORITHMS:
        file = tmp_path / f"{name}-s0" / "policy.zip"
        assert member.space.fits(member.space.with_fixed(evaluate.policy_bits(member, file)))
        assert others.load_answering(file)[0].num_timesteps >= 2 * 4
    monkeypatch.setattr(others, "family_problems", None)  # nothing is left to train
    others.main(options)


def test_a_search_beside_one_from_scratch_that_found_nothing_has_its_own_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[float | None] = []

    def row(_: object, setting: tuple[Any, ...], start: str, __: object, target: float | None) -> dict[str, str]:
        targets.append(target)
        names = ("network", "quantizer", "budget", "seed")
        return {**dict(zip(names, map(str, setting), strict=True)), "start": start, "kl_40": ""}

    monkeypatch.setattr(searches, "search_row", row)
    options = searches.Options(tmp_path, (tmp_path / "bits-s0" / "policy.zip",), results=tmp_path)
    searches.main(options)
    assert targets == [None] * 32


def test_searches_from_each_start_are_told_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = {"scratch": (4.0, 9.0, 30.0), "interactions": (4.0, 8.0, 9.0)}

    def search(_: str, options: ADRLOptions) -> Any:
        start = "scratch" if options.policy is None else "interactions"
        kls = (0.5, 0.3, 0.2) if options.seed == 0 or start == "scratch" else (0.4, 0.3, 0.3)
        shared = dict.fromkeys(("reward", "accuracy", "best_accuracy", "seconds", "agreement", "average_bits"), 0.0)
        rows = [
            Episode(**shared, episode=n, evaluations=e, kl=kl, bits="", cpu_seconds=0, cost_ratios="")
            for n, (e, kl) in enumerate(zip(evaluations[start], kls, strict=True), 1)
        ]
        assert options.output is not None
        options.output.mkdir(parents=True)
        write_rows(options.output / "episodes.csv", [dataclasses.asdict(row) for row in rows])
        return SimpleNamespace(evaluations=40, test_accuracy=80.0, checkpoint="c", git_commit="g")

    monkeypatch.setattr(searches, "run_search", search)
    options = searches.Options(
        data_root=tmp_path,
        policies=(tmp_path / "interactions-s0" / "policy.zip",),
        networks=("cifarnet",),
        quantizers=("gptq",),
        budgets=(0.05,),
        runs=tmp_path / "runs",
        results=tmp_path,
    )
    searches.main(options)
    rows = read_rows(tmp_path / "family_searches.csv")
    assert [(row["seed"], row["start"], row["reached"]) for row in rows] == [
        ("0", "scratch", "30"),
        ("0", "interactions", "9"),
        ("1", "scratch", "30"),
        ("1", "interactions", ""),
    ]
    setting, median = family_searches_table(tmp_path).splitlines()[2:]
    assert "0.500 / 0.300 / 0.200; 30, 30; 80.00 |" in setting
    assert setting.endswith("0.450 / 0.250 / 0.250; 9, never; 80.00 |")
    assert median == "| median of the evaluations | 30 | never |"
    monkeypatch.setattr(searches, "run_search", None)  # nothing is left to search
    searches.main(options)
