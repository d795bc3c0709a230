"""The table of what spreading over workers costs."""

from pathlib import Path

from benchmarks.harness.csv_file import write_rows
from benchmarks.reporting.cluster_tables import overhead_table


def test_a_line_has_the_ratio_to_the_first_variant(tmp_path: Path) -> None:
    common = {"case": "search", "reference": "1 worker", "ratio_min": "0.601", "ratio_max": "0.625", "repeats": 2}
    first = {**common, "variant": "1 worker", "seconds": "100.0", "ratio": "1.000"}
    second = {**common, "variant": "2 workers", "seconds": "61.3", "ratio": "0.613"}
    write_rows(tmp_path / "ray.csv", [first, second])
    assert overhead_table(tmp_path).splitlines()[2:] == [
        "| search | 1 worker | 100.0 |  | 2 |",
        "| search | 2 workers | 61.3 | 0.613 (0.601 to 0.625) | 2 |",
    ]
