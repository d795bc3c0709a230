"""Table of sensitivity.csv: sensitivities from gradients beside measured ones."""

from pathlib import Path

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.reporting.table_format import markdown

_NAMES = {"cifarnet": "CifarNet", "resnet20": "ResNet20", "efficientnet_lite1": "EfficientNet-Lite1"}


def sensitivity_table(results: Path) -> str:
    """Return a row for each network and quantizer: rank correlations, ratios, and what both tables take."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in read_rows(results / "sensitivity.csv"):
        found.setdefault((row["network"], row["quantizer"]), {})[row["bits"]] = row
    lines = []
    for (network, quantizer), rows in found.items():
        widths = [row for bits, row in rows.items() if int(bits) >= 2]
        whole, one_bit = rows["0"], rows["1"]
        times = float(whole["measured_passes"]) / float(whole["passes"])
        ratios = [float(row["ratio_median"]) for row in widths]
        lines.append(
            [
                _NAMES[network],
                f"`{quantizer}`",
                f"{float(whole['spearman']):.4f}",
                f"{min(float(row['spearman']) for row in widths):.2f}",
                f"{float(one_bit['spearman']):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                f"{float(one_bit['ratio_median']):.2f}",
                f"{times:.1f}",
            ]
        )
    header = [
        "network",
        "quantizer",
        "rank correlation of all entries",
        "of one width, 2 to 8 bits, at least",
        "at 1 bit",
        "ratio, 2 to 8 bits",
        "at 1 bit",
        "measuring takes, times",
    ]
    return markdown(header, lines)
