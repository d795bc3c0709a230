"""The summary that a search prints, in a log and in terminals of any width."""

import re

import pytest
from rich.console import Console

from adrl_agents.runs import summary
from adrl_agents.runs.result import SearchResult

NAMES = ["features.denseblock4.denselayer16.conv2", "head[0]", "fc"]


@pytest.fixture
def result() -> SearchResult:
    values = {"env_id": "x", "agent": "adrl", "seed": 0, "options": {}, "status": "finished", "data": "own"}
    values |= dict.fromkeys(("data_source", "checkpoint"), "") | {
        "versions": {},
        "size_ratio": 0.125,
        "average_bits": 4,
    }
    values |= {"bits": dict.fromkeys(NAMES, 4), "shapes": {name: [1024, 512, 3, 3] for name in NAMES}}
    accuracies = ("float_search_accuracy", "search_accuracy", "search_agreement")
    counts = ("episodes", "evaluations", "memo_hits", "memo_misses", "preparation_seconds", "seconds")
    return SearchResult(**values, **dict.fromkeys(accuracies, 90), **dict.fromkeys(counts, 1), search_kl=0.1)


def test_a_log_has_every_column_whole(result: SearchResult, capsys: pytest.CaptureFixture[str]) -> None:
    summary.print_result(result)
    printed = capsys.readouterr().out
    for name in NAMES:
        assert re.search(rf"^ +4 +==== +{re.escape(name)} +1024 x 512 x 3 x 3 +4,718,592", printed, re.MULTILINE)


@pytest.mark.parametrize("width", [30, 60, 80])
def test_a_narrow_terminal_still_shows_all_bits(
    result: SearchResult, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    monkeypatch.setattr(
        summary, "Console", lambda **given: Console(**{"width": width, **given}, force_terminal=True, no_color=True)
    )
    summary.print_result(result)
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    rows = [line for line in printed.splitlines() if "====" in line]
    assert len(rows) == 3
    assert all(re.match(r" +4 +====", row) for row in rows)
    assert re.search(r"\.\.\.\S*conv2", rows[0]), "its end tells a layer apart"
