"""Compare what pretrained policies answer at once with the knapsack, on networks that they have not seen.

    python -m benchmarks.family.evaluate --data-root D --weights F --policies F/policies

Every answer takes the table from gradients and nothing else. ``interactions-35`` and ``-100`` minimise costs and that
percentage of the interactions from the same gradients; nothing is learned. ``+knapsack`` takes the better of an answer
and the knapsack's, by their divergence on the 250 search images of the table, and ``perturbed+knapsack`` that of a
random correction and the knapsack's. Writes benchmarks/results/family.csv: on test images the divergence, accuracy and
agreement of each, and the divergence less the knapsack's with its standard error over images. A second call goes on
with what is left.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from torch import Tensor, nn

from adrl_agents.adrl import greedy_bits
from adrl_agents.pretrain import family_problems
from adrl_agents.runs import git_commit
from adrl_gym.datasets import ImageSet
from adrl_gym.envs import CORRECTION_REACH, FAMILY_BUDGETS, TRUST, Decisions, FamilyMember, MixedPrecisionQuantFamilyEnv
from adrl_gym.evaluation import SampleMetrics, sample_metrics, whole_logits
from adrl_gym.problem import QuantProblem
from benchmarks.family.networks import UNSEEN
from benchmarks.family.others import load_answering
from benchmarks.family.policies import DESIGNS
from benchmarks.harness.csv_file import read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_NETWORKS = Path(__file__).with_name("networks.py")
_BATCH = 250  # test images
_SPREAD = 0.3  # standard deviation of random corrections, as that of the exploration at the beginning
Answer = tuple[int, ...]


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    weights: Path = Path("runs/family")
    """Folder of the family's weights."""
    policies: Path = Path("runs/family/policies")
    """Folder of the policies' folders, DESIGN-sSEED each."""
    networks: tuple[str, ...] = ("resnet20", "cifarnet")
    """Networks that no policy has seen."""
    held_out: tuple[str, ...] = UNSEEN
    """Networks of the family that no policy has seen."""
    quantizers: tuple[str, ...] = ("gptq", "linear")
    """Roundings of weights."""
    budgets: tuple[float, ...] = FAMILY_BUDGETS
    """Largest shares of the 32-bit size."""
    images: int = 250
    """Search images, of tables and of choices between two answers."""
    test_images: int = 2000
    """Test images that all numbers are of."""
    perturbations: int = 3
    """Seeds of random corrections."""
    results: Path = _RESULTS
    """Folder of family.csv."""


def perturbed(member: FamilyMember, seed: int) -> Answer:
    """Return the knapsack's answer on a table with random corrections."""
    decisions, generator = Decisions(member, "correction"), np.random.default_rng(seed)
    while not decisions.done():
        decisions.take(generator.normal(0, _SPREAD, 3))
    return decisions.bits()


def trusting(member: FamilyMember, percent: int) -> Answer:
    """Return the answer with a percentage of the interactions, costs as they are."""
    decisions = Decisions(member, "interactions")
    factor = math.log(percent / 100 / TRUST) / CORRECTION_REACH
    while not decisions.done():
        decisions.take(np.array([0, factor]))
    return decisions.bits()


def policy_bits(member: FamilyMember, file: Path) -> Answer:
    """Return what the policy of a file answers."""
    agent, decision = load_answering(file)
    return greedy_bits(agent, member, decision)


def better(member: FamilyMember, other: Callable[[], Answer]) -> Answer:
    """Return another answer or the knapsack's, whichever has less divergence on the search images."""
    return min(member.answer, other(), key=member.measure)


def answers(member: FamilyMember, options: Options) -> Iterator[tuple[str, str, Callable[[], Answer]]]:
    """Yield each method's label, its seed, and its answer, which is made when it is asked for."""
    yield "knapsack", "", lambda: member.answer
    for percent in (35, 100):
        answer = partial(trusting, member, percent)
        yield f"interactions-{percent}", "", answer
        yield f"interactions-{percent}+knapsack", "", partial(better, member, answer)
    for number in range(options.perturbations):
        yield "perturbed+knapsack", str(number), partial(better, member, partial(perturbed, member, number))
    for file in sorted(options.policies.glob("*/policy.zip")):
        label, _, seed = file.parent.name.rpartition("-s")
        answer = partial(policy_bits, member, file)
        yield label, seed, answer
        if label in DESIGNS:
            yield f"{label}+knapsack", seed, partial(better, member, answer)


def setting_rows(
    problem: QuantProblem,
    member: FamilyMember,
    images: ImageSet,
    methods: Iterable[tuple[str, str, Callable[[], Answer]]],
) -> Iterator[dict[str, object]]:
    """Yield a row for each method and seed."""

    def logits(network: nn.Module) -> Tensor:
        return whole_logits(network, (batch for batch, _ in images.batches(_BATCH)))  # (N, K)

    seen: dict[Answer, SampleMetrics] = {}
    teacher = logits(problem.network)  # (N, K)

    def on_test(bits: Answer) -> SampleMetrics:
        if bits not in seen:
            student = logits(problem.quantized(bits).network)  # (N, K)
            seen[bits] = sample_metrics(student[None], teacher, images.labels)[0]
        return seen[bits]

    for method, seed, answer in methods:
        searched = answer()
        bits = member.space.with_fixed(searched)
        found, base = on_test(bits), on_test(member.space.with_fixed(member.answer))
        difference = found.costs("kl") - base.costs("kl")  # (N,)
        metrics = found.metrics()
        yield {
            "network": problem.name,
            "quantizer": problem.quantizer,
            "budget": member.budget,
            "method": method,
            "seed": seed,
            "kl": round(metrics.kl, 6),
            "kl_less_knapsack": round(float(difference.mean()), 6),
            "standard_error": round(float(difference.std(ddof=1) / np.sqrt(len(difference))), 6),
            "log_ratio": round(float(np.log(metrics.kl / base.metrics().kl)), 6),
            "accuracy": round(metrics.accuracy, 3),
            "accuracy_less_knapsack": round(metrics.accuracy - base.metrics().accuracy, 3),
            "agreement": round(metrics.agreement, 3),
            "search_kl": round(member.measure(searched), 6),
            "bits": " ".join(map(str, bits)),
            "images": len(images),
            "checkpoint": problem.checkpoint[:16],
            "commit": git_commit(),
        }


def unseen(options: Options) -> Iterator[QuantProblem]:
    """Yield the problems of the networks that no policy has seen."""
    shared: dict[str, Any] = {"data": "cifar10", "data_root": options.data_root, "images": options.images, "test": True}
    for name in options.networks:
        yield from family_problems([name], options.quantizers, **shared)
    for name in options.held_out:
        named = f"{_NETWORKS}:{name}"
        yield from family_problems([named], options.quantizers, weights=options.weights, **shared)


def main(options: Options) -> None:
    """Measure what is missing, and write the file anew after each setting."""
    file = options.results / "family.csv"
    for problem in unseen(options):
        assert isinstance(problem.splits.test, ImageSet)
        images = problem.splits.test.first(options.test_images)
        family = MixedPrecisionQuantFamilyEnv([problem], options.budgets, table_images=options.images)
        for budget in options.budgets:
            rows = read_rows(file)
            setting = (problem.name, problem.quantizer, str(budget))
            known = {(r["method"], r["seed"]) for r in rows if (r["network"], r["quantizer"], r["budget"]) == setting}
            member = family.member(0, budget)
            methods = [of for of in answers(member, options) if of[:2] not in known]
            if not methods:
                continue
            found = list(setting_rows(problem, member, images, methods))
            for row in found:
                print(*setting, row["method"], row["seed"], row["log_ratio"], flush=True)
            write_rows(file, [*rows, *found])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
