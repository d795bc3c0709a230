"""The look of each agent in figures, and the rows that a figure draws."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adrl_agents.registry import AGENTS
from benchmarks.harness.csv_file import Row, read_rows
from benchmarks.harness.suites import CONTENDERS


class Style(NamedTuple):
    """Look of an agent in every figure. Colours are Paul Tol's muted scheme; lines and markers tell apart as well."""

    name: str
    colour: str
    line: str = "-"
    marker: str = "o"


def _style(agent: str, line: str = "-", marker: str = "o", suffix: str = "") -> Style:
    spec = AGENTS[agent]
    return Style(f"{spec.label}{suffix}", spec.colour, line, marker)


STYLES = {
    "adrl": _style("adrl"),
    "d-adrl": Style("D-ADRL", "#882255", "--", "s"),
    "haq": _style("haq"),
    "ddpg": _style("ddpg", "--", "s"),
    "td3": _style("td3", ":", "^"),
    "sac": _style("sac", "--", "D"),
    "ppo": _style("ppo", "-.", "v"),
    "dqn": _style("dqn", ":", "P"),
    "tpe": _style("tpe", "-", "X"),
    "random": _style("random", "-", "."),
    "local": _style("local", "-.", "p"),
    "greedy": _style("greedy", ":", "<"),
    "ip-kl": _style("ip", "-", "*", ", KL"),
    "ip-agreement": _style("ip", "--", "s", ", agreement"),
    "ip-loss": _style("ip", "-.", "X", ", loss"),
    "ip-accuracy": _style("ip", ":", "^", ", accuracy"),
    "ip-kl+gradient": _style("ip", "-", "o", ", KL, gradient"),
    "local+gradient": _style("local", "-", "h", ", gradient"),
    "greedy+gradient": _style("greedy", "-", ">", ", gradient"),
    "uniform": _style("uniform", ":", "d"),
}
for _agent in CONTENDERS:
    if _agent not in STYLES:  # a new one, or integer programming by a new score
        _name, *_choices = _agent.replace("+", "-").split("-")
        _told = [choice.upper() if choice == "kl" else choice for choice in _choices]
        STYLES[_agent] = _style(_name, suffix="".join(f", {choice}" for choice in _told))


def read_defaults(path: Path) -> list[Row]:
    """The rows of one CSV file for agents' defaults; none where it is not there."""
    return [row for row in read_rows(path) if not row["varied"]]


def of(rows: Iterable[Row], **values: str) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def drawn_agents(rows: Sequence[Row]) -> list[str]:
    """Agents that have rows, in the order of ``STYLES``."""
    return [agent for agent in STYLES if of(rows, agent=agent)]


def own_length(rows: Sequence[Row], agent: str) -> list[Row]:
    """An agent's runs of its own length; of one that has none, those of as many evaluations as ADRL took."""
    runs = of(rows, agent=agent)
    return of(runs, protocol="search") or runs


def best_at(curve: Sequence[Row], x: str, points: np.ndarray) -> np.ndarray:
    """Best accuracy of one run at each of ``points`` ``(P,)``; nan before its first episode, its last one after."""
    at = np.array([float(row[x]) for row in curve])  # (E,)
    best = np.array([np.nan, *(float(row["best_accuracy"]) for row in curve)])  # (E + 1,)
    return best[np.searchsorted(at, points, side="right")]  # (P,)
