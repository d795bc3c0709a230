"""Make the tables of README.md and docs from the CSV files of benchmarks/results.

python -m benchmarks.report            writes the tables between their markers
python -m benchmarks.report --check    ends with status 1 where a table is not what the CSV files say
python -m benchmarks.report --results runs/quick    the same of other results, written beside them
"""

import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

import benchmarks.experiments.finetuned as finetuned
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.suites import PAPER
from benchmarks.reporting.activation_tables import activations_table, searched_table
from benchmarks.reporting.cluster_tables import overhead_table, scaling_table, sweep_table
from benchmarks.reporting.family_tables import family_networks_table, family_searches_table, family_table
from benchmarks.reporting.hardware_tables import fronts_table, latency_table, linear_table, runtime_table
from benchmarks.reporting.imagenet_tables import full_size_table, imagenet_table, recipes_table
from benchmarks.reporting.network_tables import exceptions_table, networks_table
from benchmarks.reporting.peer_tables import peers_table
from benchmarks.reporting.sensitivity_tables import sensitivity_table
from benchmarks.reporting.settings import Results
from benchmarks.reporting.table_format import BESIDE, markdown, metrics_cell, without_empty
from benchmarks.reporting.tables import EVALUATION

_ROOT = Path(__file__).parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
OF_A_SETTING = ("bits", "curves", "learning")  # figures of one network, quantizer and budget
_CALIBRATIONS = ("cifar10", "data-free")
NAMES = {"resnet20": "ResNet20", "cifarnet": "CifarNet", "resnet50": "ResNet50"}


def numbers(rows: list[Row], column: str) -> list[float]:
    """One column."""
    return [float(row[column]) for row in rows]


def median_and_range(rows: list[Row], column: str = "test_accuracy") -> str:
    """``median (lowest to highest)``."""
    values = numbers(rows, column)
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def mean_and_range(rows: list[Row], column: str = "test_accuracy") -> str:
    """``mean (lowest to highest)``."""
    values = numbers(rows, column)
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def cost(rows: list[Row]) -> str:
    """Median of the work: passes over the search images."""
    return f"{statistics.median(numbers(rows, 'evaluations')):.0f}"


def comparison_table(results: Path) -> str:
    """Test accuracies of ADRL, HAQ and uniform bits in every setting."""
    rows = read_rows(results / "comparison.csv")
    lines = []
    for network in ("resnet20", "cifarnet"):
        for quantizer, budget in (("linear", "0.1"), ("gptq", "0.0625")):
            setting = [r for r in rows if (r["network"], r["quantizer"], r["budget"]) == (network, quantizer, budget)]
            uniform, haq, adrl = ([r for r in setting if r["agent"] == agent] for agent in ("uniform", "haq", "adrl"))
            lines.append(
                [
                    f"{NAMES[network]}, `{quantizer}`, {budget}",
                    f"{float(uniform[0]['float_test_accuracy']):.2f}",
                    f"{float(uniform[0]['test_accuracy']):.2f} ({float(uniform[0]['average_bits']):.0f} bits)",
                    f"{median_and_range(haq)}, n={len(haq)}",
                    f"{median_and_range(adrl)}, n={len(adrl)}",
                    metrics_cell(haq),
                    metrics_cell(adrl),
                    cost(haq),
                    cost(adrl),
                ]
            )
    header = [
        "network, quantizer, budget",
        "float",
        "uniform",
        "HAQ, 300 episodes",
        "ADRL",
        f"HAQ's {BESIDE}",
        f"ADRL's {BESIDE}",
        "HAQ's evaluations",
        "ADRL's",
    ]
    return markdown(*without_empty(header, lines))


def datafree(results: Path) -> str:
    """Return how well the data-free sets rank configurations."""
    lines = []
    for network, quantizer in itertools.product(NAMES, ("gptq", "linear")):
        path = results / "datafree" / f"{network}-{quantizer}.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text())
        spearman = summary["spearman_with_test_accuracy"]
        columns = (spearman["agreement"], spearman["kl"], spearman["average_bits"])
        low, high = summary["test_accuracy_range"]
        measured = [str(summary["configurations"]), f"{summary['test_images']:,}", f"{low:.2f} to {high:.2f} %"]
        lines.append([f"{NAMES[network]}, `{quantizer}`", *measured, *(f"{value:.3f}" for value in columns)])
    header = ["network, quantizer", "configurations", "test images", "their accuracies"]
    return markdown([*header, "agreement", "KL divergence", "average bits alone"], lines)


def export_table(results: Path) -> str:
    """Sizes of exported files, of configurations that fit 1/16 of the weight bits (the float ONNX file is smaller)."""
    lines = []
    for r in read_rows(results / "export.csv"):
        weight_bytes = float(r["float_bytes"]) - float(r["other_bytes"])  # float32, without biases and norms
        if r["network"] not in NAMES or r["quantizer"] != "gptq" or float(r["ideal_bytes"]) > 0.064 * weight_bytes:
            continue
        columns = ("float_bytes", "ideal_bytes", "coded_bytes", "file_bytes")
        sizes = [f"{float(r[column]) / 1000:,.1f} kB" if r.get(column) else "" for column in columns]
        same = f"{int(r['equal_predictions']):,} of {int(r['images']):,}"
        speed = f"{float(r['speedup']):.2f}" if r["speedup"] else ""
        lines.append([NAMES[r["network"]], r["format"], *sizes, f"{float(r['factor']):.1f}", same, speed])
    header = ["network", "format", "float file", "weight bits alone", "entropy-coded", "file"]
    return markdown([*header, "times smaller", "same predictions", "speed over float's"], lines)


def refit_table(results: Path) -> str:
    """Test accuracy of the same bits before and after the refit: mean (lowest to highest) over calibration draws."""
    groups: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for r in read_rows(results / "refit.csv"):
        key = tuple(r[name] for name in ("network", "budget", "agent"))
        groups.setdefault(key, {}).setdefault(r["calibration"], []).append(r)
    lines = []
    for (network, budget, agent), by_data in sorted(groups.items(), key=lambda item: (item[0][0], -float(item[0][1]))):
        known = [row for rows in by_data.values() for row in rows]
        accuracies = [mean_and_range(by_data[data]) if data in by_data else "not run" for data in _CALIBRATIONS]
        timed = [row for row in known if row.get("weights")]  # earlier rows timed no comparison with direct weights
        seconds = statistics.mean(numbers(timed or known, "cpu_seconds"))
        before, after = (f"{float(known[0][column]):.2f}" for column in ("direct_test_accuracy", "float_test_accuracy"))
        others = [metrics_cell(by_data.get(data, [])) for data in _CALIBRATIONS]
        line = [f"{NAMES[network]}, {budget}", agent, before, *accuracies, *others, after, f"{seconds:.0f}"]
        lines.append(line)
    header = ["network, budget", "bits of", "as searched", "refitted on CIFAR-10", "refitted on the data-free set"]
    header += [f"{BESIDE} on CIFAR-10", "on the data-free set"]
    return markdown(*without_empty([*header, "float", "processor seconds"], lines))


def finetuning(results: Path) -> str:
    """Test accuracy before and after finetuning; of the epoch that was kept."""
    return markdown(*finetuned.finetune_table(results))


CASES = {
    "full_evaluation": "a configuration, whole",
    "one_layer_change": "after a change of one layer",
    "table": "all layers alone at all bit-widths",
    "candidates_prefix": "an episode's candidates, `prefix`",
    "candidates_completed": "an episode's candidates, `completed`",
    "search_cold": "a search",
    "search_warm": "the same search again",
}


def speed(results: Path) -> str:
    """Time of the evaluator over that of alternatives, on ResNet20 (or CifarNet alone) with 1,000 images."""
    lines, rows = [], read_rows(results / "speed.csv")
    network = "resnet20" if any(r["network"] == "resnet20" for r in rows) else "cifarnet"
    for r in rows:
        if r["case"] in CASES and (r["network"], r["images"]) == (network, "1000"):
            ratio = f"{float(r['ratio']):.2f} ({float(r['ratio_min']):.2f} to {float(r['ratio_max']):.2f})"
            lines.append([CASES[r["case"]], r["variant"], r["reference"], ratio])
    return markdown(["what", "variant", "over", "ratio of their times"], lines)


def figures_table(results: Path, page: Path) -> str:
    """All figures there are, as pictures of a page; those of other settings than A, B and C are folded away."""
    settings = tuple(f"-{quantizer}-{budget:g}" for quantizer, budget in PAPER.values())
    shown: list[str] = []
    folded: list[str] = []
    for path in sorted((results / "figures").glob("*.png")):
        kind, *_ = path.stem.split("-")
        place = folded if kind in OF_A_SETTING and not path.stem.endswith(settings) else shown
        place.append(f"![{path.stem}]({Path(os.path.relpath(path, page.parent)).as_posix()})")
    if folded:
        shown += ["<details>", "<summary>Of the other quantizers and sizes</summary>", *folded, "</details>"]
    return "\n\n".join(shown) or "Not drawn yet."


def from_rows(make: Callable[[Results], str]) -> Callable[[Path], str]:
    """A table of the evaluation, as a function of the folder of results."""
    return lambda folder: make(Results.load(folder))


Tables = dict[str, Callable[[Path], str]]
PAGE = _ROOT / "docs" / "evaluation.md"
MEASURED: Tables = {
    "datafree": datafree,
    "export": export_table,
    "refit": refit_table,
    "runtime": runtime_table,
    "linear": linear_table,
    "speed": speed,
}
TABLES: dict[Path, Tables] = {
    _ROOT / "README.md": {"comparison": comparison_table},
    _ROOT / "docs" / "results.md": {
        "comparison": comparison_table,
        "peers": peers_table,
        "runtime": runtime_table,
        **MEASURED,
    },
    _ROOT / "docs" / "agents.md": {
        "ablations": from_rows(EVALUATION["ablations"]),
        "sensitivity": sensitivity_table,
    },
    PAGE: {
        **{name: from_rows(make) for name, make in EVALUATION.items()},
        "figures": lambda folder: figures_table(folder, PAGE),
    },
    _ROOT / "docs" / "family.md": {
        "family-networks": family_networks_table,
        "family": family_table,
        "family-searches": family_searches_table,
    },
    _ROOT / "docs" / "finetuning.md": {"finetuning": finetuning},
    _ROOT / "docs" / "howto" / "activations.md": {"activations": activations_table, "searched": searched_table},
    _ROOT / "docs" / "howto" / "hardware-budget.md": {"latency": latency_table, "fronts": fronts_table},
    _ROOT / "docs" / "howto" / "imagenet.md": {
        "full-size": full_size_table,
        "imagenet": imagenet_table,
        "imagenet-recipes": recipes_table,
    },
    _ROOT / "docs" / "howto" / "many-machines.md": {
        "sweep": sweep_table,
        "overhead": overhead_table,
        "scaling": scaling_table,
    },
    _ROOT / "docs" / "networks.md": {"networks": networks_table, "network-exceptions": exceptions_table},
}


def filled(text: str, tables: Tables, results: Path) -> str:
    """``text`` with every table between its markers made anew; raises ``ValueError`` where a marker is missing."""
    for name, make in tables.items():
        start, end = f"<!-- table:{name} -->\n", f"<!-- /table:{name} -->"
        before, found, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"no markers for the table {name}")
        text = f"{before}{start}{make(results)}\n{end}{after}"
    return text


def small(results: Path) -> None:
    """Return what the tables and figures say of other results, written beside them: evaluation.md and tables.md."""
    page = results / "evaluation.md"
    tables = {**TABLES[PAGE], "figures": lambda folder: figures_table(folder, page)}
    page.write_text(filled(PAGE.read_text(), tables, results))
    (results / "tables.md").write_text("\n\n".join(make(results) for make in MEASURED.values()) + "\n")


@dataclass
class Options:
    """Options of the report."""

    check: bool = False
    """Write nothing, and end with status 1 where a table is out of date."""
    results: Path | None = None
    """Folder of other CSV files: evaluation.md and tables.md are written into it, and nothing else."""


def main(options: Options) -> int:
    if options.results is not None:
        small(options.results.resolve())
        return 0
    stale = []
    for path, tables in TABLES.items():
        text = path.read_text()
        new = filled(text, tables, _RESULTS)
        if new != text:
            stale.append(path.name)
            if not options.check:
                path.write_text(new)
    if options.check and stale:
        print("out of date: " + ", ".join(stale) + "; run python -m benchmarks.report", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
