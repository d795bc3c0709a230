"""The table of quantized activations."""

from pathlib import Path

from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.activation_tables import activations_table, searched_table


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


def test_searched_activations_have_mean_and_spread_over_the_seeds(tmp_path: Path) -> None:
    common = {"network": "resnet20", "activation_bits": "search", "float_test_accuracy": 91.28, "average_bits": 3.0}
    found = [
        {**common, "agent": agent, "budget": budget, "seed": seed, "test_accuracy": accuracy, "test_kl": 0.0416}
        for agent, budget, seed, accuracy in (
            ("uniform", 0.015625, 0, 87.24),
            ("adrl", 0.01, 0, 88.0),
            ("adrl", 0.015625, 0, 90.0),
            ("adrl", 0.015625, 1, 91.0),
        )
    ]
    write_rows(tmp_path / "activations.csv", [*found, {**row("2.0", "direct", "8", 83.7), "budget": 0.0625}])
    assert searched_table(tmp_path).splitlines()[2:] == [
        "| ResNet20, 1/64 | P-ADRL | 90.50 ± 0.71 | 0.042 ± 0.000 | 91.28 | 3.00 | 2 |",
        "| ResNet20, 1/64 | uniform | 87.24 | 0.042 | 91.28 | 3.00 | 1 |",
        "| ResNet20, 1/100 | P-ADRL | 88.00 | 0.042 | 91.28 | 3.00 | 1 |",
    ]
