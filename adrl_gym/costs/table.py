"""Lookup tables of one's own hardware: what each layer takes at each bit-width, as a CSV file."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adrl_gym.costs.cost import WIDTHS, AdditiveCost
from adrl_gym.costs.size import FLOAT_BITS
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import LayerSpec

TABLE_SCHEMA = 1
TABLE_COLUMNS = ("schema", "layer", "weight_bits", "activation_bits", "milliseconds", "joules", "runtime", "processor")
_VALUES = {"latency": ("milliseconds", 1e6), "energy": ("joules", 1e12)}  # column, and units in one: whole ns and pJ
_MOST_NAMED = 3
_NAME = "cost_table"  # of the setting, for errors


@dataclass(frozen=True)
class TableRow:
    """Measurement of one layer.

    Attributes:
        layer: signature, see ``LayerSpec.signature``.
        weight_bits, activation_bits: 1 to 8, or 32 for float.
        milliseconds: of one image; NaN where it was not measured.
        joules: likewise.
        runtime, processor: on which it was measured.
    """

    layer: str
    weight_bits: int
    activation_bits: int
    milliseconds: float = math.nan
    joules: float = math.nan
    runtime: str = ""
    processor: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """All that tells one row of a table from another."""
        return self.layer, self.weight_bits, self.activation_bits


@dataclass(frozen=True)
class CostTable:
    """Latency and energy of layers, by signature, weight bits and activation bits.

    A layer of few bits can run wherever one of more bits runs. So its entry is the least of the rows that have at least
    its weight bits and at least its activation bits; float and integer activations do not stand for each other. A table
    of 2, 4 and 8 bits serves 3 bits, and no entry falls as bits rise.

    Attributes:
        rows: at most one for each layer, weight bits and activation bits.
        name: of the file, for messages.
    """

    rows: tuple[TableRow, ...]
    name: str = "the table"

    def cost(
        self, kind: str, layers: Sequence[LayerSpec], activation_bits: Sequence[int], condition: str = ""
    ) -> AdditiveCost:
        """Return the cost ``latency`` or ``energy`` of a network's layers.

        Raises:
            AdrlGymError: the table lacks a layer, its float row, or this kind's column; names the layers.
        """
        column, units = _VALUES[kind]
        known = {
            row.key: round(units * value) for row in self.rows if not math.isnan(value := float(getattr(row, column)))
        }
        missing, entries, whole = [], [], 0
        for layer, a in zip(layers, activation_bits, strict=True):
            highest = max(a, WIDTHS[-1])
            widths = [(b, v) for (name, b, x), v in known.items() if name == layer.signature and a <= x <= highest]
            reals = known.get((layer.signature, FLOAT_BITS, FLOAT_BITS))
            served = [[value for width, value in widths if width >= b] for b in WIDTHS]
            if reals is None or not all(served):
                missing.append(layer)
                continue
            entries.append(tuple(layer.uses * min(values) for values in served))
            whole += layer.uses * reals
        if missing:
            raise self._lacks(missing, column, activation_bits)
        if whole == 0:
            raise AdrlGymError(f"{self.name}: the float layers take 0 {column} together; measure them", parameter=_NAME)
        return AdditiveCost(kind, tuple(entries), whole, condition=condition)

    def milliseconds(
        self, layers: Sequence[LayerSpec], bits: Sequence[int] | None, activation_bits: int = FLOAT_BITS
    ) -> float:
        """Return the predicted latency of a configuration of all layers; without ``bits``, of the float network.

        Raises:
            AdrlGymError: the table lacks a layer.
        """
        cost = self.cost("latency", layers, [activation_bits] * len(layers))
        return (cost.whole if bits is None else cost.total(bits)) / _VALUES["latency"][1]

    def _lacks(self, layers: Sequence[LayerSpec], column: str, activation_bits: Sequence[int]) -> AdrlGymError:
        named = "; ".join(f"{layer.name} ({layer.signature})" for layer in layers[:_MOST_NAMED])
        more = f" and {len(layers) - _MOST_NAMED} more" if len(layers) > _MOST_NAMED else ""
        widths = " or ".join(map(str, sorted({*activation_bits})))
        return AdrlGymError(
            f"{self.name} lacks {column} of {len(layers)} layers, in float or at 8 weight bits and {widths} activation "
            f"bits: {named}{more}; is it of another network? adrl-gym latency-table adds a network's layers",
            parameter=_NAME,
        )

    def to_csv(self) -> str:
        """Return the table as CSV with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(TABLE_COLUMNS)
        for row in self.rows:
            values = ["" if math.isnan(v) else f"{v:.6g}" for v in (row.milliseconds, row.joules)]
            writer.writerow([TABLE_SCHEMA, *row.key, *values, row.runtime, row.processor])
        return text.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> "CostTable":
        """Read a CSV file.

        Raises:
            AdrlGymError: no such file, other columns or another schema, values that are no costs, two rows of the same.
        """
        try:
            with Path(path).open(newline="", encoding="utf-8") as file:
                lines = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise AdrlGymError(f"cannot read the cost table {path}: {error}", parameter=_NAME) from error
        if not lines or tuple(lines[0]) != TABLE_COLUMNS:
            raise AdrlGymError(
                f"{path} is no cost table: its first line must be {','.join(TABLE_COLUMNS)}", parameter=_NAME
            )
        rows: dict[tuple[str, int, int], TableRow] = {}
        for number, line in enumerate(lines[1:], 2):
            row = _read(line, f"{path}, line {number}")
            if row.key in rows:
                raise AdrlGymError(f"{path}, line {number}: a second row of the same layer and bits", parameter=_NAME)
            rows[row.key] = row
        return cls(tuple(rows.values()), str(path))


def _read(line: Sequence[str], where: str) -> TableRow:
    """Return one row; raises ``AdrlGymError``, which says where."""
    if len(line) != len(TABLE_COLUMNS):
        raise AdrlGymError(f"{where}: {len(line)} values for {len(TABLE_COLUMNS)} columns", parameter=_NAME)
    values = dict(zip(TABLE_COLUMNS, line, strict=True))
    if values["schema"] != str(TABLE_SCHEMA):
        raise AdrlGymError(
            f"{where}: schema {values['schema']}; this version reads schema {TABLE_SCHEMA}", parameter=_NAME
        )
    weights, activations = (_width(values[name], name, where) for name in ("weight_bits", "activation_bits"))
    milliseconds, joules = (_amount(values[name], name, where) for name in ("milliseconds", "joules"))
    if math.isnan(milliseconds) and math.isnan(joules):
        raise AdrlGymError(f"{where}: neither milliseconds nor joules; give one, or take the row out", parameter=_NAME)
    return TableRow(values["layer"], weights, activations, milliseconds, joules, values["runtime"], values["processor"])


def _width(text: str, name: str, where: str) -> int:
    if text not in {*map(str, WIDTHS), str(FLOAT_BITS)}:
        raise AdrlGymError(f"{where}: {name} {text!r}; give 1 to 8, or 32 for float", parameter=_NAME)
    return int(text)


def _amount(text: str, name: str, where: str) -> float:
    """Return a cost; NaN for an empty cell."""
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise AdrlGymError(f"{where}: {name} {text!r}; a cost is finite and at least 0", parameter=_NAME)
    return value
