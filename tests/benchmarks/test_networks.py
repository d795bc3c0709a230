"""benchmarks/experiments/networks.py: what it measures, and what its committed file says."""

from pathlib import Path

import pytest

from benchmarks.experiments.networks import Options, main, tried_networks
from benchmarks.harness.csv_file import read_rows
from benchmarks.reporting.network_tables import LEAST_SHARE, REASONS, exceptions, networks_table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_forty_networks_are_covered_and_predict_the_same() -> None:
    rows = {row["network"]: row for row in read_rows(RESULTS / "networks.csv")}
    assert len(rows) >= 40
    assert rows.keys() == tried_networks().keys()
    assert {"torchvision:vit_b_16", "torchvision:swin_t"} <= rows.keys()
    assert {row["kind"] for row in rows.values()} == {"convolutional", "transformer", "mixed"}
    assert {row["network"] for row in exceptions(list(rows.values()))} == REASONS.keys()
    assert float(rows["torchvision:vit_b_16"]["share"]) >= LEAST_SHARE
    for name, row in rows.items():
        assert row["different"] == "0", name
        assert float(row["float_difference"]) < 1e-3, name
        assert float(row["quantized_difference"]) < 1e-3, name


def test_a_network_is_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(only=("torchvision:shufflenet_v2_x1_0",), results=tmp_path)
    main(options)
    (row,) = read_rows(tmp_path / "networks.csv")
    assert (row["layers"], row["different"], row["in_parts"]) == ("57", "0", "True")
    assert float(row["share"]) == 1
    main(options)
    assert len(read_rows(tmp_path / "networks.csv")) == 1
    assert "shufflenet_v2_x1_0" in networks_table(tmp_path)
