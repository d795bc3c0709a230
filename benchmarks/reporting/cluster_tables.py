"""The tables of what spreading costs: measured on two cores, simulated for a thousand workers, and a sweep's rows."""

from pathlib import Path

from benchmarks.harness.csv_file import read_rows
from benchmarks.reporting.table_format import markdown

_SHOWN = "1", "8", "32", "128", "512", "1000"  # workers


def scaling_table(results: Path) -> str:
    """Return the speed-up of each case, and what takes longest with the most workers."""
    rows = read_rows(results / "ray_scaling.csv")
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = {row["workers"]: row for row in rows if row["case"] == case}
        last = own[_SHOWN[-1]]
        hours = f"{float(own['1']['seconds']) / 3600:.1f}"
        end = f"{last['largest_part']}, {float(last['largest_part_seconds']):.0f} of {float(last['seconds']):.0f} s"
        lines.append([case, hours, *(f"{float(own[count]['speedup']):.1f}" for count in _SHOWN[1:]), end])
    return markdown(
        ["", "hours with 1 worker", *(f"{count} workers" for count in _SHOWN[1:]), "longest part of 1000"], lines
    )


def overhead_table(results: Path) -> str:
    """Return the seconds of each variant, and their ratio to those of the first one of its case."""
    lines = []
    for row in read_rows(results / "ray.csv"):
        own = row["variant"] == row["reference"]
        spread = f"{row['ratio']} ({row['ratio_min']} to {row['ratio_max']})"
        lines.append([row["case"], row["variant"], row["seconds"], "" if own else spread, row["repeats"]])
    return markdown(["case", "variant", "seconds", "of the first variant's time", "turns"], lines)


def sweep_table(results: Path) -> str:
    """Return the accuracies of ADRL on ResNet20 at each budget, before and after the refit."""
    lines = [
        [
            row["budget"],
            f"{float(row['average_bits']):.2f}",
            f"{float(row['test_accuracy']):.2f}",
            f"{float(row['refit_test_accuracy']):.2f}",
            f"{float(row['float_test_accuracy']):.2f}",
            f"{float(row['evaluations']):.0f}",
            f"{float(row['cpu_seconds']):.0f}",
        ]
        for row in read_rows(results / "pareto_resnet20.csv")
    ]
    header = ["budget", "bits a weight", "test accuracy", "refitted", "float", "evaluations", "processor seconds"]
    return markdown(header, lines)
