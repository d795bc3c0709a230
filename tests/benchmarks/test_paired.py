"""The comparison of agents' best bits image by image: whose, what is counted, and what the table says of it."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
pytestmark = pytest.mark.usefixtures("benchmark_scripts")
A = ("cifarnet", "A")


def script(name: str) -> Any:
    return importlib.import_module(name)


def test_each_agent_is_compared_by_its_seed_with_the_median_accuracy() -> None:
    tables, paired = script("benchmarks.reporting.tables"), script("benchmarks.experiments.paired_test")
    pairs = paired.pairs(tables.Results.load(RESULTS), A)
    assert {(other["agent"], other["protocol"]) for _, other in pairs} <= set(tables.COMPARED)
    assert ("haq", "search") in {(other["agent"], other["protocol"]) for _, other in pairs}
    runs = tables.Results.load(RESULTS).runs
    for mine, other in pairs:
        for row in (mine, other):
            same = tables.in_setting(runs, A, agent=row["agent"], protocol=row["protocol"])
            accuracies = sorted(float(r["test_accuracy"]) for r in same)
            assert float(row["test_accuracy"]) == accuracies[(len(accuracies) - 1) // 2]
        assert mine["agent"] == "adrl"


def test_the_interval_is_that_of_a_paired_difference() -> None:
    lead = script("benchmarks.reporting.table_format").lead
    row = {"images": "10000", "adrl_alone_right": "150", "other_alone_right": "100"}
    assert lead(row) == "+0.50 ± 0.31"  # 250 images of 10,000 differ: sqrt(0.025 - 0.005^2) / 100 = 0.158 %
    assert lead({**row, "adrl_alone_right": "100", "other_alone_right": "150"}) == "-0.50 ± 0.31"
    assert lead({**row, "adrl_alone_right": "0", "other_alone_right": "0"}) == "+0.00 ± 0.00"


def few(folder: Path, agents: tuple[str, ...]) -> None:
    """Of the committed runs, seed 0 of some agents in one setting."""
    store, tables = script("benchmarks.harness.store"), script("benchmarks.reporting.tables")
    runs = tables.in_setting(tables.Results.load(RESULTS).runs, A)
    store.write([row for row in runs if row["agent"] in agents and row["seed"] == "0"], folder / "runs.csv")


def test_images_are_counted_and_nothing_is_measured_twice(
    cifar_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paired, store = script("benchmarks.experiments.paired_test"), script("benchmarks.harness.store")
    few(tmp_path, ("adrl", "greedy"))
    options = paired.Options(data_root=cifar_root, results=tmp_path)
    paired.main(options)
    (row,) = store.read_rows(tmp_path / "paired.csv")
    mine, its = (
        next(float(r["test_accuracy"]) for r in store.read_rows(tmp_path / "runs.csv") if r["agent"] == agent)
        for agent in ("adrl", "greedy")
    )
    assert (row["agent"], row["protocol"], row["images"]) == ("greedy", "matched", "10000")
    # Another processor's rounding may move a few of the 10,000 images.
    assert (float(row["adrl_accuracy"]), float(row["accuracy"])) == pytest.approx((mine, its), abs=0.1)
    lead = int(row["adrl_alone_right"]) - int(row["other_alone_right"])  # images, of which 100 are a percent
    assert lead == round(100 * (float(row["adrl_accuracy"]) - float(row["accuracy"])))
    assert int(row["adrl_alone_right"]) > 0

    before = (tmp_path / "paired.csv").read_bytes()
    monkeypatch.setattr(paired, "Tester", None)  # nothing can be measured
    paired.main(options)
    assert (tmp_path / "paired.csv").read_bytes() == before


def test_the_page_says_how_many_accuracies_came_out_again() -> None:
    tables = script("benchmarks.reporting.tables")
    run = {"network": "cifarnet", "quantizer": "linear", "budget": "0.1", "varied": ""}
    runs = [{**run, "bits": bits, "test_accuracy": accuracy} for bits, accuracy in (("4", "85.3"), ("3", "84.0"))]
    row = {**run, "bits": "3", "adrl_bits": "4", "accuracy": "84.0", "adrl_accuracy": "85.3"}
    results = tables.Results(runs, [], [], [row])
    assert tables.measured_again(results).startswith("Of these 2 configurations, 2 have the accuracy")
    said = tables.measured_again(results._replace(paired=[{**row, "accuracy": "84.08"}]))
    assert said.startswith("Of these 2 configurations, 1 have")
    assert said.endswith("at most 0.08 % away.")
