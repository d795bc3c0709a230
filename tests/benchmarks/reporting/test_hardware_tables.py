"""The tables of latencies, and the figure of accuracy against costs."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.hardware.front_figure import draw_fronts
from benchmarks.harness.csv_file import Row, write_rows
from benchmarks.reporting.hardware_tables import fronts_table, latency_table, linear_table, runtime_table


def test_a_line_has_speed_and_size_beside_float(tmp_path: Path) -> None:
    times = {
        "batch": 1,
        "threads": 2,
        "weight_bits": 4,
        "float_ms": "0.911",
        "quantized_ms": "0.573",
        "speedup": "1.590",
    }
    write_rows(tmp_path / "runtime.csv", [{"network": "resnet20", **times, "float_bytes": 1000, "file_bytes": 160}])
    lines = runtime_table(tmp_path).splitlines()
    assert lines[0].count("|") == lines[2].count("|")
    assert lines[2:] == ["| ResNet20 | 1 | 2 | 4 | 0.91 | 0.57 | 1.59 | 6.25 |"]


def test_a_line_has_linear_layers_in_float_beside_packed_ones(tmp_path: Path) -> None:
    common = {"network": "alexnet", "bits": 4, "threads": 1, "float_bytes": 1000}
    plain = {**common, "linear": "float", "packed_layers": 0, "speedup": "0.994", "file_bytes": 125}
    packed = {**common, "linear": "nbits", "packed_layers": 3, "speedup": "2.345", "file_bytes": 130}
    write_rows(tmp_path / "linear_layers.csv", [plain, packed])
    assert linear_table(tmp_path).splitlines()[2:] == ["| AlexNet | 4 | 1 | 0.99 | 2.35 | 3 | 8.00 | 7.69 |"]


def test_a_line_has_the_error_of_a_prediction(tmp_path: Path) -> None:
    network = "resnet20, 8-bit weights, 8-bit activations"
    write_rows(tmp_path / "latency_check.csv", [{"network": network, "predicted_ms": "0.3845", "measured_ms": "0.4"}])
    bits = "8-bit weights, 8-bit activations"
    assert latency_table(tmp_path).splitlines()[2:] == [f"| ResNet20 | {bits} | 0.385 | 0.400 | -3.9 |"]


@pytest.fixture
def front() -> list[Row]:
    """Two agents under two budgets, the larger one first."""
    return [
        {
            **{"budget": budget, "agent": agent, "bitops_ratio": budget, "latency_ratio": "0.456"},
            **{"test_accuracy": mean, "lowest_test_accuracy": low, "highest_test_accuracy": "90.5"},
            "float_test_accuracy": "91.28",
        }
        for budget, agent, mean, low in (
            ("0.02", "uniform", "89", "89"),
            ("0.02", "adrl", "90", "89.5"),
            ("0.01", "adrl", "80", "79"),
        )
    ]


def test_a_line_has_both_costs_of_a_network_that_was_found(tmp_path: Path, front: list[Row]) -> None:
    write_rows(tmp_path / "fronts.csv", front)
    assert fronts_table(tmp_path).splitlines()[2:] == [
        "| 1/50 | uniform | 89.00 | 2.00 % | 46 % |",
        "| 1/50 | P-ADRL | 90.00 | 2.00 % | 46 % |",
        "| 1/100 | P-ADRL | 80.00 | 1.00 % | 46 % |",
    ]


def test_accuracy_is_drawn_against_both_costs(front: list[Row]) -> None:
    for axes, shares in zip(draw_fronts(front).axes, ([1.0, 2.0], [45.6, 45.6]), strict=True):
        handles, labels = axes.get_legend_handles_labels()
        drawn: dict[str, Any] = dict(zip(labels, handles, strict=True))
        assert list(drawn) == ["float network", "uniform", "P-ADRL"]
        line, _, (bars,) = drawn["P-ADRL"].lines
        assert line.get_xydata().tolist() == [[shares[0], 80], [shares[1], 90]]
        assert [bar[:, 1].tolist() for bar in bars.get_segments()] == [[79, 90.5], [89.5, 90.5]]
