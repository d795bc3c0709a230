"""Lookup tables of hardware: what they answer, and which files are refused."""

import math
from pathlib import Path

import pytest

from adrl_gym import AdrlGymError
from adrl_gym.costs import TABLE_COLUMNS, CostTable, TableRow, cost_of
from adrl_gym.layers import LayerSpec

CONV = LayerSpec("conv", "conv", (4, 3, 3, 3), 108, 10_800, 3, 4, 3, 1, 10, 1, 2, (), 0, (3, 10, 10), (4, 10, 10))
HEAD = ",".join(TABLE_COLUMNS)


def rows() -> list[TableRow]:
    widths = {2: 0.3, 4: 0.2, 8: 0.4}
    return [
        TableRow(CONV.signature, 32, 32, 1.0, 2e-3),
        *(TableRow(CONV.signature, b, 8, ms, math.nan) for b, ms in widths.items()),
    ]


def test_a_layer_of_few_bits_takes_the_least_of_its_own_and_the_wider_rows() -> None:
    cost = cost_of("latency", [CONV], [8], CostTable(tuple(rows())))
    # Two uses; 2 bits can run as 4 bits do, 5 to 7 bits as 8 do. In whole nanoseconds.
    assert cost.entries == ((400_000,) * 4 + (800_000,) * 4,)
    assert cost.whole == 2_000_000
    assert cost.ratio([3]) == 0.2
    assert cost_of("latency", [CONV], [3], CostTable(tuple(rows()))).entries == cost.entries


def test_float_activations_run_the_float_layer() -> None:
    assert cost_of("latency", [CONV], [32], CostTable(tuple(rows()))).ratio([1]) == 1.0
    assert cost_of("energy", [CONV], [32], CostTable(tuple(rows()))).whole == 4_000_000_000


def test_layers_that_the_table_lacks_are_named_with_the_remedy() -> None:
    table = CostTable(tuple(rows()), "table.csv")
    for kind, lack in (("energy", "joules"), ("latency", "milliseconds")):
        with pytest.raises(
            AdrlGymError, match=rf"table.csv lacks {lack} of 1 layers.*conv .conv 4x3x3x3 stride 1.*adds"
        ):
            cost_of(kind, [CONV], [8], CostTable(table.rows[: 1 if kind == "latency" else 2], table.name))
    with pytest.raises(AdrlGymError, match="a budget of latency needs a table of the hardware: give cost_table"):
        cost_of("latency", [CONV], [8])


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(CostTable(tuple(rows())).to_csv())
    assert path.read_text().splitlines()[1] == f"1,{CONV.signature},32,32,1,0.002,,"
    loaded = CostTable.load(path)
    assert loaded.to_csv() == path.read_text()
    assert [row.key for row in loaded.rows] == [row.key for row in rows()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "is no cost table: its first line must be schema,layer"),
        (f"{HEAD}\n2,x,8,8,1,,,\n", "line 2: schema 2; this version reads schema 1"),
        (f"{HEAD}\n1,x,8,8,-1,,,\n", "line 2: milliseconds '-1'; a cost is finite and at least 0"),
        (f"{HEAD}\n1,x,8,8,nan,,,\n", "line 2: milliseconds 'nan'; a cost is finite"),
        (f"{HEAD}\n1,x,8,8,,inf,,\n", "line 2: joules 'inf'; a cost is finite"),
        (f"{HEAD}\n1,x,8,8,,,,\n", "line 2: neither milliseconds nor joules"),
        (f"{HEAD}\n1,x,9,8,1,,,\n", "line 2: weight_bits '9'; give 1 to 8, or 32 for float"),
        (f"{HEAD}\n1,x,8,8,1\n", "line 2: 5 values for 8 columns"),
        (f"{HEAD}\n1,x,8,8,1,,,\n1,x,8,8,2,,,\n", "line 3: a second row of the same layer and bits"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(AdrlGymError, match=message):
        CostTable.load(path)
    with pytest.raises(AdrlGymError, match="cannot read the cost table"):
        CostTable.load(tmp_path / "none.csv")


def test_a_table_of_zeros_is_refused() -> None:
    zeros = tuple(TableRow(CONV.signature, b, a, 0.0) for b, a in ((32, 32), (8, 8)))
    with pytest.raises(AdrlGymError, match="the float layers take 0 milliseconds together"):
        cost_of("latency", [CONV], [8], CostTable(zeros))
