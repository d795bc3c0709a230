"""The table of sensitivities from gradients beside measured ones."""

from pathlib import Path

from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.sensitivity_tables import sensitivity_table


def test_one_bit_stands_apart_from_the_other_widths(tmp_path: Path) -> None:
    spearman = {0: 0.9912, 1: 0.5, 2: 0.81, 3: 0.95}
    ratio = {0: 0.9, 1: 0.3, 2: 0.8, 3: 1.1}
    of = {"network": "resnet20", "quantizer": "gptq", "passes": 3, "measured_passes": 21}
    write_rows(
        tmp_path / "sensitivity.csv",
        [{**of, "bits": bits, "spearman": spearman[bits], "ratio_median": ratio[bits]} for bits in spearman],
    )
    line = sensitivity_table(tmp_path).splitlines()[-1]
    assert line == "| ResNet20 | `gptq` | 0.9912 | 0.81 | 0.50 | 0.80 to 1.10 | 0.30 | 7.0 |"
