"""Fixtures of the tests of searches that are logged."""

from pathlib import Path

import pytest

from adrl_agents.options import Options


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """A search of a second, tracked offline."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / kind))
    return Options(
        env_id="tiny_env:Tiny-v0",
        budget=0.1,
        images=40,
        episodes=4,
        seed=3,
        output=tmp_path / "run",
        track=True,
    )
