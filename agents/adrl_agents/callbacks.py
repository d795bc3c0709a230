"""Callbacks for SB3's ``learn``: recording a search as it goes, and ending it early."""

import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from tqdm import tqdm

from adrl_agents.folder import RunFolder
from adrl_agents.plots import draw_bits, draw_curve
from adrl_agents.record import SearchRecord
from adrl_agents.snapshot import save_agent
from adrl_agents.tracking import Tracker
from adrl_gym.result import SearchResult, Status

SAVE_SECONDS = 5.0  # between two savings of agent and pictures ...
SAVE_SHARE = 0.05  # ... which may take at most this share of the time


class SearchCallback(BaseCallback):
    """Writes the best so far after every episode, the agent and the pictures every few seconds.

    A kill at any moment leaves all files whole. The agent is saved between two episodes, after its training:
    there a search can be resumed exactly.

    Args:
        record: of the search; may already hold episodes.
        folder: of the run.
        tracker: Weights & Biases, if wanted.
    """

    def __init__(self, record: SearchRecord, folder: RunFolder, tracker: Tracker | None = None) -> None:
        super().__init__()
        self.record, self.folder, self.tracker = record, folder, tracker
        self._saved = len(record.episodes)  # episodes that the agent on disk knows
        self._due = time.monotonic() + SAVE_SECONDS
        self._bar: tqdm[Any] | None = None

    def save(self, status: Status, tested: tuple[float, float] | None = None) -> SearchResult:
        """Write result, history and pictures; ``tested`` as for ``SearchRecord.result``."""
        record, folder = self.record, self.folder
        result = record.result(status, tested)
        folder.save_result(result, record.episodes)
        folder.save_picture(folder.bits, draw_bits(result))
        folder.save_picture(folder.curve, draw_curve(result, record.episodes))
        return result

    def close(self) -> None:
        """Take the progress bar away; ``learn`` does it too, unless it is interrupted."""
        if self._bar is not None:
            self._bar.close()

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.record.options.episodes,
            initial=len(self.record.episodes),
            unit="episode",
            desc="search",
            dynamic_ncols=True,
            disable=None,  # no bar where nobody watches
        )
        self._show_best()

    def _on_rollout_start(self) -> None:
        now = time.monotonic()
        if len(self.record.episodes) > self._saved and (self._saved == 0 or now >= self._due):
            self._save_agent()
            self.save("running")
            took = time.monotonic() - now
            self._due = time.monotonic() + max(SAVE_SECONDS, took / SAVE_SHARE)

    def _on_step(self) -> bool:
        for info, reward in finished_episodes(self.locals):
            episode = self.record.add(info, reward)
            self.folder.save_result(self.record.result("running"), self.record.episodes)
            if self.tracker is not None:
                self.tracker.log(episode)
            if self._bar is not None:
                self._bar.update()
                self._show_best()
        return True

    def _on_training_end(self) -> None:
        if len(self.record.episodes) > self._saved:
            self._save_agent()
        self.close()

    def _save_agent(self) -> None:
        assert isinstance(self.model, OffPolicyAlgorithm)
        save_agent(self.folder.agent, self.model, self.record.progress)
        self._saved = len(self.record.episodes)

    def _show_best(self) -> None:
        if self._bar is not None and self.record.best is not None:
            self._bar.set_postfix_str(f"best accuracy {self.record.best.accuracy:.2f} %")


class EarlyTermination(BaseCallback):
    """End the search when accuracy has settled: its spread over the last episodes is small (ADRL, section 3).

    Works with any agent. It stops on the first step of the next episode: by then the agent has learned from
    the last one, and is saved as it should be.

    Args:
        window: how many of the last episodes; at least 2.
        tolerance: settled means that the standard deviation of their accuracy is below this, in percent.
        history: accuracies of the episodes before, when a search is resumed.
    """

    def __init__(self, window: int, tolerance: float, history: Iterable[float] = ()) -> None:
        super().__init__()
        self.tolerance = tolerance
        self._last = deque(history, maxlen=window)
        self._settled = False

    def _on_step(self) -> bool:
        if self._settled:
            return False
        for info, _ in finished_episodes(self.locals):
            self._last.append(info["accuracy"])
            self._settled = len(self._last) == self._last.maxlen and statistics.pstdev(self._last) < self.tolerance
        return True


def finished_episodes(step: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    """Last ``info`` and reward of each episode that ended in this step (a callback's ``locals``)."""
    for info, reward, done in zip(step["infos"], step["rewards"], step["dones"], strict=True):
        if done:
            yield info, float(reward)
