"""Finished runs of the suites, made up: accuracy rises towards an end, and the first evaluations went into a table."""

import csv
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from adrl_agents.runs.history import Episode, history_csv
from adrl_agents.runs.result import SearchResult
from adrl_gym.costs import Limits, average_bits, size_cost, size_ratio
from benchmarks.harness.store import Store
from benchmarks.harness.suites import Suite
from benchmarks.reporting.gather import gather as gather_store

SHAPES = {f"layer{i}": [16, 16, 3, 3] for i in range(20)}
PARAMETERS = [16 * 16 * 9] * 20
FLOAT = 91.0


def finish(run: Any, folder: Path, episodes: int, start: float = 0.0, end: float = 88.0, speed: float = 0.05) -> None:
    """Leave a finished run: accuracy rises from 60 % to ``end`` %, the first evaluations went into a table."""
    generator = np.random.default_rng(zlib.crc32(run.name.encode()))
    bits = list(Limits([(size_cost(PARAMETERS), run.budget)], 1).project(generator.integers(1, 8, 20).tolist()))
    history, best = [], 0.0
    for count in range(1, episodes + 1):
        accuracy = end - (end - 60) * math.exp(-speed * count) - generator.exponential(8 * math.exp(-speed * count))
        best = round(max(best, accuracy), 2)
        spent = start + count
        reward = round(0.1 * (accuracy - FLOAT), 6)
        history.append(Episode(count, reward, accuracy, best, spent, 1.2 * spent, best, 0.1, 2.0, "1 2", spent))
    result = SearchResult(
        env_id="adrl_gym/ResNet20-Cifar10-v0",
        agent=run.agent,
        seed=run.seed,
        options={},
        status="finished",
        bits=dict(zip(SHAPES, bits, strict=True)),
        shapes=SHAPES,
        size_ratio=size_ratio(bits, PARAMETERS),
        average_bits=average_bits(bits, PARAMETERS),
        float_search_accuracy=FLOAT,
        search_accuracy=best,
        search_agreement=best,
        search_kl=0.1,
        data="cifar10",
        data_source="made up",
        episodes=episodes,
        evaluations=start + episodes,
        memo_hits=0,
        memo_misses=episodes,
        preparation_seconds=1.0,
        seconds=1.2 * (start + episodes),
        cpu_seconds=start + episodes,
        checkpoint="0" * 64,
        versions={"torch": "0"},
        float_test_accuracy=FLOAT,
        test_accuracy=best - 0.5,
        test_agreement=best + 1,
        test_kl=0.0651,
        test_loss=0.312,
    )
    (folder / run.name).mkdir(parents=True)
    result.save(folder / run.name / "result.json")
    (folder / run.name / "episodes.csv").write_text(history_csv(history))


def finish_setting(
    folder: Path, quantizer: str = "linear", budget: float = 0.0625, without: tuple[str, ...] = ()
) -> None:
    """All runs of one setting of the suite ``paper`` on ResNet20, but those of some agents."""
    store = Store("paper", folder, folder / "none")
    suite = [run for run in store.suite if run.setting == ("resnet20", quantizer, budget, "")]
    suite = [run for run in suite if run.agent not in without]
    for run in suite:
        if run.agent == "adrl":
            finish(run, folder, 40, start=40, end=86 + 35 * budget, speed=0.8)
    for run in suite:
        chosen = store.sized(run)
        if run.agent in ("uniform", "greedy", "local") or run.agent.startswith("ip"):
            finish(chosen, folder, 1, start=40, end=84 + 35 * budget + len(run.agent) / 6, speed=9)
        elif run.agent != "adrl":
            episodes = 80 if run.protocol == "matched" else 600
            end = {"haq": 87.5, "d-adrl": 88.5, "tpe": 88.4, "random": 84}.get(
                run.agent, 83 + zlib.crc32(run.agent.encode()) % 5
            )
            finish(chosen, folder, episodes, end=end, speed=0.008)


def rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def gather(runs: Path, results: Path, suite: Suite = "paper") -> None:
    """As the command does."""
    gather_store(Store(suite, runs, results))
