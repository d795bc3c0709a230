"""Tables of searches on networks of ImageNet's size: what they find, and what they take."""

from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import NOT_RUN, markdown, metrics_cell

_HEADER = (
    "average bits",
    "search",
    "evaluations",
    "recipe",
    "test accuracy",
    "agreement, KL, loss",
    "ADRL's KL less its KL",
)
_NAMES = {"alexnet": "AlexNet", "resnet50": "ResNet50"}
_COSTS = {"error": 2, "disagreement": 2, "kl": 4, "loss": 4}  # digits


def imagenet_table(results: Path) -> str:
    """Return a row for each search and recipe, those of fewer bits first."""
    pairs = {
        (row["network"], row["average_bits"], row["seed"], row["less_agent"], row["less_recipe"]): row
        for row in read_rows(results / "imagenet_pairs.csv")
        if row["cost"] == "kl" and row["agent"] != row["less_agent"]
    }
    lines = []
    for row in sorted(read_rows(results / "imagenet.csv"), key=lambda row: (float(row["budget"]), row["agent"])):
        bits = f"{32 * float(row['budget']):g}"
        lines.append(
            [
                bits,
                row["agent"],
                f"{float(row['evaluations']):.0f}",
                row["recipe"],
                f"{float(row['test_accuracy']):.2f}",
                metrics_cell([row]),
                ""
                if row["agent"] == "adrl"
                else _less(pairs.get((row["network"], bits, row["seed"], row["agent"], row["recipe"]))),
            ]
        )
    return markdown(_HEADER, lines)


def recipes_table(results: Path) -> str:
    """Return a row for each search: refitted less direct weights, image by image, in every measure."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in read_rows(results / "imagenet_pairs.csv"):
        if row["agent"] == row["less_agent"]:
            found.setdefault((row["average_bits"], row["agent"]), {})[row["cost"]] = row
    lines = [
        [bits, agent, *(_less(costs.get(cost), digits) for cost, digits in _COSTS.items())]
        for (bits, agent), costs in sorted(found.items(), key=lambda item: (float(item[0][0]), item[0][1]))
    ]
    return markdown(("average bits", "search", "error, percent", "disagreement, percent", "KL", "loss"), lines)


def full_size_table(results: Path) -> str:
    """Return a row for each network of full_size.csv: time and memory of ADRL's default search."""
    header = ("network", "layers", "images", "first answer, s", "command, s", "evaluations", "peak GiB", "threads")
    lines = [
        [
            _NAMES[row["network"]],
            row["layers"],
            row["images"],
            f"{float(row['first_seconds']):.0f}",
            f"{float(row['seconds']):.0f}",
            f"{float(row['evaluations']):.0f}",
            f"{float(row['peak_gib']):.1f}",
            row["threads"],
        ]
        for row in sorted(read_rows(results / "full_size.csv"), key=lambda row: row["network"])
    ]
    return markdown(header, lines)


def _less(row: Row | None, digits: int = 4) -> str:
    """``mean (its 95 % interval)``."""
    if row is None:
        return NOT_RUN
    mean, low, high = (f"{float(row[name]):+.{digits}f}" for name in ("difference", "low", "high"))
    return f"{mean} ({low} to {high})"
