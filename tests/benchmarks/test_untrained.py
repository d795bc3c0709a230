"""Refitted beside direct weights of networks with random weights: rows are written once."""

from pathlib import Path

import pytest
import torch
from torch import nn

from adrl_gym import QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from benchmarks.harness.csv_file import read_rows
from benchmarks.searches import untrained


def test_a_row_holds_both_recipes_and_is_measured_once(
    tiny: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def problem(name: str, count: int) -> QuantProblem:
        made.append(name)
        generator = torch.Generator().manual_seed(0)
        shape = (count, 3, 8, 8)
        search, test = (ImageSet(torch.randn(shape, generator=generator), torch.zeros(count).long()) for _ in range(2))
        return QuantProblem(tiny, Splits(search, test, "noise"), quantizer="gptq", name=name)

    monkeypatch.setattr(untrained, "untrained_problem", problem)
    options = untrained.Options(networks=("one",), bits=(2, 4), images=10, results=tmp_path)
    untrained.main(options)
    untrained.main(options)
    assert made == ["one", "one"]
    rows = read_rows(tmp_path / "untrained.csv")
    assert [row["bits"] for row in rows] == ["2", "4"]
    for name in ("direct", "calibrated", "refit"):
        assert 0 < float(rows[1][f"{name}_search_kl"]) < float(rows[0][f"{name}_search_kl"])
        assert float(rows[0][f"{name}_test_kl"]) > 0
    for row in rows:
        chosen = "calibrated" if row["weights"] == "refit" else "direct"
        assert row["refit_test_kl"] == row[f"{chosen}_test_kl"]
        assert row["held_out"] == "2"
