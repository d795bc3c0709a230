"""The tables of runtime.csv, linear_layers.csv, latency_check.csv and fronts.csv: exported files and latencies."""

from pathlib import Path

from adrl_agents.registry import AGENTS
from benchmarks.harness.csv_file import read_rows
from benchmarks.reporting.table_format import markdown

_NAMES = {
    "mobilenet_v2": "MobileNetV2",
    "resnet18": "ResNet18",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "resnet20": "ResNet20",
    "alexnet": "AlexNet",
    "vit_b_16": "ViT-B/16",
}


def runtime_table(results: Path) -> str:
    """Return a row for each network, batch, threads and weight bits: milliseconds in float and in integers."""
    header = ["network", "batch", "threads", "weight bits", "float ms", "integer ms", "times as fast", "times smaller"]
    lines = [
        [
            _NAMES[row["network"]],
            row["batch"],
            row["threads"],
            row["weight_bits"],
            f"{float(row['float_ms']):.2f}",
            f"{float(row['quantized_ms']):.2f}",
            f"{float(row['speedup']):.2f}",
            f"{int(row['float_bytes']) / int(row['file_bytes']):.2f}",
        ]
        for row in read_rows(results / "runtime.csv")
    ]
    return markdown(header, lines)


def linear_table(results: Path) -> str:
    """Return a row for each network, width and threads: the speed with float linear layers, and with packed ones."""
    rows = read_rows(results / "linear_layers.csv")
    packed = {(row["network"], row["bits"], row["threads"]): row for row in rows if row["linear"] == "nbits"}
    lines = []
    for row in (row for row in rows if row["linear"] == "float"):
        other = packed[row["network"], row["bits"], row["threads"]]
        sizes = [f"{int(which['float_bytes']) / int(which['file_bytes']):.2f}" for which in (row, other)]
        speeds = [f"{float(which['speedup']):.2f}" for which in (row, other)]
        lines.append([_NAMES[row["network"]], row["bits"], row["threads"], *speeds, other["packed_layers"], *sizes])
    header = ["network", "bits", "threads", "speed", "with `nbits`", "layers packed", "times smaller", "with `nbits`"]
    return markdown(header, lines)


def latency_table(results: Path) -> str:
    """Return a row for each network: predicted and measured milliseconds, and the prediction's error in percent."""
    lines = []
    for row in read_rows(results / "latency_check.csv"):
        name, _, bits = row["network"].partition(", ")
        predicted, measured = float(row["predicted_ms"]), float(row["measured_ms"])
        error = f"{100 * (predicted / measured - 1):+.1f}"
        lines.append([_NAMES[name], bits, f"{predicted:.3f}", f"{measured:.3f}", error])
    return markdown(["network", "bits", "predicted ms", "measured ms", "error in %"], lines)


def fronts_table(results: Path) -> str:
    """Return a row for each budget of bit operations and agent: accuracy, and shares of the float network's costs."""
    lines = [
        [
            f"1/{1 / float(row['budget']):.0f}",
            AGENTS[row["agent"]].label,
            f"{float(row['test_accuracy']):.2f}",
            f"{100 * float(row['bitops_ratio']):.2f} %",
            f"{100 * float(row['latency_ratio']):.0f} %",
        ]
        for row in read_rows(results / "fronts.csv")
    ]
    return markdown(["budget of bit operations", "agent", "test accuracy", "bit operations", "latency"], lines)
