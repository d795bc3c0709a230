"""The picture of layer sensitivities in the folder of a run."""

from pathlib import Path

import numpy as np
import pytest

from adrl_agents.cli import run as run_command
from adrl_agents.runs import SearchResult, draw_sensitivity
from commands import arguments


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize(("method", "has_table"), [("greedy", True), ("uniform", False)])
def test_runs_with_a_table_have_the_picture(tmp_path: Path, method: str, has_table: bool) -> None:
    folder = tmp_path / "run"
    assert run_command("search", arguments(folder, method=method, activations="search", budget="bitops=0.02")) == 0
    picture = folder / "sensitivity.png"
    assert picture.exists() == has_table
    if not has_table:
        return
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = SearchResult.load(folder / "result.json")
    costs = np.array([[2.0, 1.0, 0.0], [0.5, 0.25, 1e-9]])
    figure = draw_sensitivity(result, costs, ["conv1", "conv1, input"], [3, 1], min_bits=1)
    axes, bar = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv1", "conv1, input"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert np.array_equal(np.asarray(axes.lines[0].get_xydata())[:, 0], [2, 0])
    assert bar.get_ylabel() == "cost of the layer alone"
