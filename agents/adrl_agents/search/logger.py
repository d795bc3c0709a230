"""Keeps a search on disk and on the screen while it goes on, whatever it is that searches."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from adrl_agents import interrupts
from adrl_agents.runs import Episode, RunFolder, SearchResult, Status, draw_bits, draw_curve, draw_sensitivity
from adrl_agents.search.state import SearchState
from adrl_gym.evaluation import Metrics
from adrl_gym.progress import Bar, bar

SAVE_SECONDS = 5.0  # between two savings of agent and pictures ...
SAVE_SHARE = 0.05  # ... which may take at most this share of the time


class Tracker(Protocol):
    """A place outside the run's own files that a search is logged to."""

    @property
    def where(self) -> str:
        """One line for the user."""

    def log(self, episode: Episode) -> None:
        """Log one episode's metrics."""

    def finish(self, result: SearchResult, folder: RunFolder) -> None:
        """Log what is known at the end, and end."""

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""


class RunLogger:
    """Writes the best so far after every configuration, pictures (and an agent) every few seconds.

    A kill at any moment leaves all files whole.

    Args:
        record: of the search; may already hold episodes.
        folder: of the run.
        trackers: where else it is logged.
    """

    def __init__(self, record: SearchState, folder: RunFolder, trackers: Sequence[Tracker] = ()) -> None:
        self.record, self.folder, self.trackers = record, folder, trackers
        self._saved = len(record.episodes)  # episodes when everything was last saved
        self._due = time.monotonic() + SAVE_SECONDS
        self._bar: Bar | None = None

    def open(self) -> None:
        """Show progress from here on."""
        self._bar = bar("search", self.record.options.episodes, "episodes", len(self.record.episodes))
        self._show_best()

    def add(self, info: dict[str, Any], reward: float) -> Episode:
        """Take in the last step of an episode, as the environment gives it.

        Raises:
            KeyboardInterrupt: a Ctrl-C that got lost before; the episode is written down.
        """
        episode = self.record.add(info, reward)
        self.folder.save_result(self.record.result("running"), self.record.history)
        if not self.record.repeated:  # or it is there already
            for tracker in self.trackers:
                tracker.log(episode)
        if self._bar is not None:
            self._bar.update()
            self._show_best()
        interrupts.raise_if_pressed()
        return episode

    def pause(self, save_agent: Callable[[], None] | None = None, at_once: bool = False) -> None:
        """Between two episodes: save pictures and the agent, if it is time.

        Args:
            save_agent: writes an agent from which the search can be resumed exactly.
            at_once: save the agent whether or not it is time.
        """
        now, count = time.monotonic(), len(self.record.episodes)
        if count == self._saved:
            return
        due = self._saved == 0 or now >= self._due
        if save_agent is not None and (due or at_once):
            save_agent()
        if due:
            self.save("running")
            self._saved = count
            took = time.monotonic() - now
            self._due = time.monotonic() + max(SAVE_SECONDS, took / SAVE_SHARE)

    def save(self, status: Status, tested: tuple[Metrics, Metrics] | None = None) -> SearchResult:
        """Write result, history and pictures; ``tested`` as for ``SearchState.result``."""
        record, folder = self.record, self.folder
        result = record.result(status, tested)
        folder.save_result(result, record.history)
        folder.save_picture(folder.bits, draw_bits(result))
        folder.save_picture(folder.curve, draw_curve(result, record.episodes))
        problem = record.problem
        if problem.sensitivity is not None and record.best is not None:
            names = [problem.describe(place) for place in problem.searchable]
            chosen = [record.best.bits[place] for place in problem.searchable]
            drawn = draw_sensitivity(result, problem.sensitivity, names, chosen, problem.min_bits)
            folder.save_picture(folder.sensitivity, drawn)
        return result

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()

    def _show_best(self) -> None:
        if self._bar is not None and self.record.best is not None:
            spent = f"{self.record.progress.evaluations:.0f} evaluations"
            self._bar.set_postfix_str(f"best accuracy {self.record.best.accuracy:.2f} %, {spent}")
