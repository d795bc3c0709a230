"""The table of quantized activations."""

from pathlib import Path

from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.activation_tables import activations_table


def row(bits: str, recipe: str, activations: str, accuracy: float) -> dict[str, object]:
    return {
        **{"network": "resnet20", "agent": "uniform", "average_bits": bits, "recipe": recipe},
        **{"activation_bits": activations, "test_accuracy": accuracy, "float_test_accuracy": 91.28},
    }


def test_a_line_has_all_activations_of_one_configuration(tmp_path: Path) -> None:
    found = [row("2.0", "direct", "8", 83.7), row("2.0", "direct", "float", 83.4), row("8.0", "refit", "float", 91.3)]
    write_rows(tmp_path / "activations.csv", found)
    assert activations_table(tmp_path).splitlines()[2:] == [
        "| ResNet20 | 2.00 (uniform) | direct | 83.40 | 83.70 | 91.28 |",
        "| ResNet20 | 8.00 (uniform) | refit | 91.30 | not run | 91.28 |",
    ]
