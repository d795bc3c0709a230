"""Fixtures of the tests of sweeps."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest

from adrl_agents.runs import Row
from adrl_agents.sweep import SweepOptions, run_sweep


@pytest.fixture(scope="module")
def plain(scripts: None) -> Iterator[None]:
    """Searches draw no pictures: these take three quarters of a tiny search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adrl_agents.search.logger.draw_bits", lambda *_: None)
        patch.setattr("adrl_agents.search.logger.draw_curve", lambda *_: None)
        patch.setattr("adrl_agents.runs.RunFolder.save_picture", lambda _, path, figure: path.touch())
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
        yield


@pytest.fixture(scope="module")
def serial(plain: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepOptions, list[Row]]:
    """A sweep of six searches in this process, one after the other, and its rows."""
    options = SweepOptions(
        env_id="tiny_env:Tiny-v0",
        budgets=(0.1, 0.15),
        agents=("adrl", "haq", "ip"),
        images=40,
        episodes=3,
        output=Path(tmp_path_factory.mktemp("serial")),
    )
    return options, run_sweep(options)
