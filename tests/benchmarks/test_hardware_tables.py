"""The tables of latencies."""

from pathlib import Path

from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.hardware_tables import latency_table, linear_table, runtime_table


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
