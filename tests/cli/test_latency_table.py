"""The command that measures layers on this machine."""

import importlib
import re
from pathlib import Path

import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import read_rows
from adrl_gym.costs import CostTable
from adrl_gym.layers import find_layers
from commands import OWN

pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")
QUICK = ("--rounds", "1", "--runs", "2")
NETWORK = ("--network", f"{OWN / 'branches.py'}:make")


def test_a_table_is_built_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, results = tmp_path / "table.csv", tmp_path / "results" / "check.csv"
    assert run_command("latency-table", [*NETWORK, *QUICK, "--output", str(table)]) == 0
    assert re.search(r"table.csv: make takes \d+\.\d+ ms in float", capsys.readouterr().out)
    assert run_command("latency-table", [*NETWORK, *QUICK, "--check", str(table), "--results", str(results)]) == 0
    assert "make, float: predicted" in capsys.readouterr().out
    rows = read_rows(results)
    assert [list(row) for row in rows] == [["network", "predicted_ms", "measured_ms"]] * 2
    assert [row["network"] for row in rows] == ["make, float", "make, 8-bit weights"]
    network = importlib.import_module("branches").make().eval()
    predicted = CostTable.load(table).milliseconds(find_layers(network, (3, 16, 16)), None)
    assert [float(row["predicted_ms"]) for row in rows] == [pytest.approx(predicted, abs=1e-4)] * 2
    assert all(float(row["measured_ms"]) > 0 for row in rows)


def test_a_table_is_checked_on_a_network_in_integers(tmp_path: Path) -> None:
    table, results = tmp_path / "table.csv", tmp_path / "check.csv"
    network = f"{OWN / 'branches.py'}:without_norm"
    assert run_command("latency-table", ["--network", network, *QUICK, "--output", str(table)]) == 0
    check = ("--check", str(table), "--activations", "8", "--results", str(results))
    assert run_command("latency-table", ["--network", network, *QUICK, *check]) == 0
    rows = read_rows(results)
    assert [row["network"] for row in rows] == ["without_norm, float", "without_norm, 8-bit weights, 8-bit activations"]
    layers = find_layers(importlib.import_module("branches").without_norm().eval(), (3, 16, 16))
    predicted = CostTable.load(table).milliseconds(layers, (8,) * len(layers), 8)
    assert float(rows[1]["predicted_ms"]) == pytest.approx(predicted, abs=1e-4)
    assert float(rows[1]["measured_ms"]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), r"give output to build a table, or check to check one \(--output, --check\)"),
        (("--output", "table.txt"), r"output must end in .csv, got table.txt \(--output\)"),
        (("--output", "table.csv", "--runs", "0"), "runs must be at least 1, got 0"),
        (("--output", "table.csv", "--results", "r.csv"), "results are of a check: give check as well"),
        (("--output", "table.csv", "--activations", "8"), "a table has both kinds of activations: give check as well"),
        (("--check", "none.csv"), "cannot read the cost table none.csv"),
        (("--check", "empty.csv"), r"empty.csv lacks milliseconds of \d layers, .*: stem .conv 8x3x3x3"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text(
        "schema,layer,weight_bits,activation_bits,milliseconds,joules,runtime,processor\n"
    )
    assert run_command("latency-table", [*NETWORK, *arguments]) == 2
    assert re.search(message, told := capsys.readouterr().err), told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty.csv"]
