"""Networks compared image by image: agents with each other, refitted with direct weights."""

from pathlib import Path

import numpy as np
import pytest

from adrl_gym.evaluation import SCORES
from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.imagenet_tables import recipes_table
from benchmarks.searches.imagenet_pairs import ImageCosts, compared_pairs, differences


def test_adrl_is_compared_with_the_others_and_each_refit_with_its_direct_weights() -> None:
    networks = [(agent, recipe) for agent in ("adrl", "uniform") for recipe in ("direct", "refit")]
    assert list(compared_pairs(networks)) == [  # type: ignore[arg-type]
        (("adrl", "refit"), ("adrl", "direct")),
        (("adrl", "direct"), ("uniform", "direct")),
        (("adrl", "refit"), ("uniform", "refit")),
        (("uniform", "refit"), ("uniform", "direct")),
    ]


def test_differences_are_paired_and_shown_with_their_intervals(tmp_path: Path) -> None:
    spread = np.random.default_rng(0).normal(scale=5, size=400)  # of the images, far more than between recipes
    noise = np.random.default_rng(1).normal(scale=0.1, size=400)
    costs: ImageCosts = {
        ("adrl", "direct"): dict.fromkeys(SCORES, spread),
        ("adrl", "refit"): dict.fromkeys(SCORES, spread - 0.5 + noise),
    }
    rows = [{"network": "one", "average_bits": "3", "seed": "0", **row} for row in differences(costs)]
    assert {row["cost"] for row in rows} == {"error", "disagreement", "kl", "loss"}
    for row in rows:
        assert row["difference"] == pytest.approx(-0.5, abs=0.02)
        assert -0.53 < row["low"] < row["difference"] < row["high"] < -0.47
        assert row["images"] == 400
    write_rows(tmp_path / "imagenet_pairs.csv", rows)
    table = recipes_table(tmp_path)
    assert "| 3 | adrl | -0.51 (-0.52 to -0.50) |" in table
    write_rows(tmp_path / "imagenet_pairs.csv", rows[:1])
    assert table.splitlines()[-1].split("|")[3] == recipes_table(tmp_path).splitlines()[-1].split("|")[3]
    assert "not run" in recipes_table(tmp_path)
