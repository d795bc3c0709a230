"""The settings of the evaluation, and the rows of results that belong to each."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.suites import ONLY_IN_B, PAPER
from benchmarks.reporting.styles import of
from benchmarks.reporting.table_format import NOT_RUN

_NETWORKS = {"resnet20": "ResNet20", "cifarnet": "CifarNet"}
Setting = tuple[str, str]  # network, and a letter of PAPER


class Results(NamedTuple):
    """The rows of the evaluation."""

    runs: list[Row]
    learning: list[Row]
    variance: list[Row]
    paired: list[Row]

    @classmethod
    def load(cls, folder: Path) -> "Results":
        """From a folder of CSV files; those that are missing are empty."""
        return cls(*(read_rows(folder / f"{name}.csv") for name in cls._fields))

    def settings(self) -> list[Setting]:
        """Network and letter of each setting of the protocol; of the quick suite's results, CifarNet's alone."""
        every = [("resnet20", s) for s in "ABC"] + [("cifarnet", s) for s in "AB"]
        there = {row["network"] for row in self.runs}
        return [(network, s) for network, s in every if there != {"cifarnet"} or network == "cifarnet"]


def in_setting(rows: Sequence[Row], setting: Setting, varied: str = "", **values: str) -> list[Row]:
    """Rows of one setting, of agents as they are."""
    network, letter = setting
    quantizer, budget = PAPER[letter]
    return of(rows, network=network, quantizer=quantizer, budget=f"{budget:g}", varied=varied, **values)


def setting_title(setting: Setting) -> str:
    """For example ``ResNet20, A: `linear`, 0.1``."""
    network, letter = setting
    quantizer, budget = PAPER[letter]
    return f"{_NETWORKS[network]}, {letter}: `{quantizer}`, {budget:g}"


def none(agent: str, setting: Setting) -> str:
    """Return the cell of an agent that has no rows."""
    return "–" if agent in ONLY_IN_B and setting != ("resnet20", "B") else NOT_RUN  # noqa: RUF001 - no minus
