"""The folder of one run: whom it belongs to, and its files, each replaced whole."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from adrl_agents.runs.history import Episode, history_csv, load_history
from adrl_agents.runs.plots import png
from adrl_agents.runs.result import SearchResult
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

LIMITS = ("episodes", "evaluations", "minutes")  # of a search; they may be raised on resume
_EARLIER = {"sensitivity": "measured"}  # what runs did before there was a choice
FREE = ("device", *LIMITS)  # options that may change on resume


class RunFolder:
    """Files of one run: ``result.json``, ``episodes.csv``, and some of agent and pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / "result.json"
        self.history = path / "episodes.csv"
        self.agent = path / "agent.zip"
        self.bits = path / "bits.png"
        self.curve = path / "curve.png"
        self.sensitivity = path / "sensitivity.png"

    def claim(self, agent: str, options: dict[str, Any], resume: bool) -> SearchResult | None:
        """Make the folder ready for a run; with ``resume``, give the result so far, if there is any.

        Args:
            agent: name of the agent.
            options: those that make the run what it is.
            resume: whether to go on with a run of the same options.

        Raises:
            AdrlGymError: not writable, or it belongs to another run.
        """
        self._check_writable()
        if not self.result.exists():
            if strangers := [p.name for p in self._others if p.exists()]:
                raise AdrlGymError(
                    f"{self.path} holds {', '.join(strangers)} but no result.json, so it is of no known run; "
                    "choose another --output"
                )
            return None
        there = SearchResult.load(self.result)
        differing = _differing({"agent": there.agent, **there.options}, {"agent": agent, **options})
        if differing:
            raise AdrlGymError(
                f"{self.path} belongs to another run, with {', '.join(differing)}; "
                + ("resume it with its own options or " if resume else "")
                + "choose another --output"
            )
        if not resume:
            raise AdrlGymError(
                f"{self.path} holds a run of these options ({there.status}, {there.episodes} episodes): "
                "go on with --resume, or choose another --output"
            )
        for name in LIMITS:
            before, now = (math.inf if of.get(name) is None else of[name] for of in (there.options, options))
            if now < before:
                raise AdrlGymError(
                    f"{self.path} has --{name} {before}: resuming can only raise them, not lower them to {now}"
                )
        return there

    def release_if_empty(self) -> None:
        """Leave no empty folder behind a run that never began."""
        with suppress(OSError):
            self.path.rmdir()

    def save_result(self, result: SearchResult, episodes: list[Episode]) -> None:
        """Replace the result and its history."""
        result.save(self.result)
        write_whole(self.history, history_csv(episodes).encode())

    def load_history(self, episodes: int) -> list[Episode]:
        """All rows of the history, of which there must be ``episodes`` at least."""
        rows = load_history(self.history)
        if len(rows) < episodes:
            raise AdrlGymError(f"{self.history} has {len(rows)} episodes, and the agent knows {episodes}")
        return rows

    def load_whole_history(self) -> list[Episode]:
        """All rows of the history; none where a kill left no more than a result."""
        return load_history(self.history) if self.history.exists() else []

    def save_picture(self, path: Path, figure: Figure) -> None:
        """Replace one of the pictures."""
        write_whole(path, png(figure))

    @property
    def _others(self) -> tuple[Path, ...]:
        """Return the files beside the result."""
        return self.history, self.agent, self.bits, self.curve, self.sensitivity

    def _check_writable(self) -> None:
        probe = self.path / ".writable"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise AdrlGymError(
                f"cannot write to the output folder {self.path}: {error.strerror}; choose another --output"
            ) from error


def _differing(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """One phrase for every option that differs, for example ``--budget 0.1 (here 0.0625)``."""
    return [
        f"{'' if name == 'agent' else '--'}{name.replace('_', '-')} {there.get(name)} (here {here.get(name)})"
        for name in {**there, **here}
        if name not in FREE and there.get(name, _EARLIER.get(name)) != here.get(name)
    ]
