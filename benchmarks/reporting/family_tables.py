"""The tables of family.csv: divergence of pretrained policies' answers over the knapsack's, on unseen networks."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import markdown

_NORMAL = 1.96  # half width of a 95 % interval, in standard errors


def setting_means(rows: Sequence[Row]) -> list[float]:
    """Return the mean over seeds of the logarithm of the ratio, for each network, quantizer and budget."""
    settings: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        settings.setdefault((row["network"], row["quantizer"], row["budget"]), []).append(float(row["log_ratio"]))
    return [statistics.fmean(of) for of in settings.values()]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ratios from their logarithms, and its 95 % interval over settings."""
    mean = statistics.fmean(values)
    half = _NORMAL * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def family_table(results: Path) -> str:
    """Return a row for each method: ratio to the knapsack's divergence at each budget, and what images tell apart."""
    rows = read_rows(results / "family.csv")
    budgets = sorted({row["budget"] for row in rows}, key=float)
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "knapsack"):
        own = [row for row in rows if row["method"] == method]
        cells = []
        for budget in (*budgets, None):
            ratios = setting_means([row for row in own if budget in (None, row["budget"])])
            cells.append("{:.3f} ({:.3f} to {:.3f})".format(*interval(ratios)) if ratios else "not run")
        clear = [float(row["kl_less_knapsack"]) / max(float(row["standard_error"]), 1e-12) for row in own]
        better, worse = sum(z < -_NORMAL for z in clear), sum(z > _NORMAL for z in clear)
        lines.append([f"`{method}`", *cells, f"{better} / {worse} of {len(own)}"])
    return markdown(["answer of", *budgets, "all", "clearly better / worse"], lines)


def family_searches_table(results: Path) -> str:
    """Return a row for each setting: divergence, evaluations until scratch's final one, accuracy."""
    file = results / "family_searches.csv"
    rows = read_rows(file) if file.exists() else []
    starts = list(dict.fromkeys(row["start"] for row in rows))
    lines, reached = [], dict[str, list[float]]()
    for setting in dict.fromkeys((row["network"], row["quantizer"], row["budget"]) for row in rows):
        own = [row for row in rows if (row["network"], row["quantizer"], row["budget"]) == setting]
        cells = []
        for start in starts:
            of_start = [row for row in own if row["start"] == start]
            if not of_start:
                cells.append("not run")
                continue
            kls = (statistics.fmean(float(row[f"kl_{point}"] or "nan") for row in of_start) for point in (5, 10, 40))
            needed = [float(row["reached"] or "inf") for row in of_start]
            reached.setdefault(start, []).extend(needed)
            accuracy = statistics.fmean(float(row["test_accuracy"]) for row in of_start)
            cells.append(f"{' / '.join(f'{kl:.3f}' for kl in kls)}; {', '.join(map(_count, needed))}; {accuracy:.2f}")
        lines.append([f"{setting[0]}, `{setting[1]}`, {setting[2]}", *cells])
    lines.append(["median of the evaluations", *(_count(statistics.median(of)) for of in reached.values())])
    return markdown(["network, quantizer, budget", *(f"`{start}`" for start in starts)], lines)


def _count(evaluations: float) -> str:
    return f"{evaluations:.0f}" if evaluations < math.inf else "never"


def family_networks_table(results: Path) -> str:
    """Return a row for each network of the family."""
    lines = [
        [
            f"`{row['network']}`",
            row["layers"],
            f"{int(row['weights']):,}",
            f"{int(row['macs']) / 1e6:.1f}",
            row["test_accuracy"],
        ]
        for row in read_rows(results / "family_networks.csv")
    ]
    return markdown(["network", "layers", "weights", "million multiply-accumulates", "test accuracy in %"], lines)
