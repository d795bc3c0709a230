"""TensorBoard, for those who ask for it: event files in the folder ``tensorboard`` of a run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adrl_agents.runs import Episode, RunFolder, SearchResult
from adrl_agents.search.state import SearchState
from adrl_agents.search.wandb import METRICS
from adrl_gym.errors import AdrlGymError


class TensorboardLogger:
    """One search in TensorBoard.

    Logged after every episode: ``search/<metric>`` over the episode, and ``cost/best_accuracy`` over evaluations. At
    the end: pictures. Each is on disk at once, so that a search can be followed and killed.

    Args:
        record: of the search; a resumed search goes on in the same panels.
        folder: of the run.

    Raises:
        AdrlGymError: TensorBoard is not installed.
    """

    def __init__(self, record: SearchState, folder: RunFolder) -> None:
        self.path = folder.path / "tensorboard"
        self._writer = make_writer(self.path)
        if not record.episodes:
            options = {"agent": record.agent, **record.options.recorded()}
            self._writer.add_text("options", f"```json\n{json.dumps(options, indent=2)}\n```")

    @property
    def where(self) -> str:
        """Say where the run can be looked at."""
        return f"TensorBoard: tensorboard --logdir {self.path}"

    def log(self, episode: Episode) -> None:
        """Log one episode's metrics."""
        values = dataclasses.asdict(episode)
        for metric in METRICS:
            self._writer.add_scalar(f"search/{metric}", values[metric], episode.episode)
        self._writer.add_scalar("cost/best_accuracy", episode.best_accuracy, round(episode.evaluations))
        self._writer.flush()

    def finish(self, result: SearchResult, folder: RunFolder) -> None:
        """Log the pictures, and end."""
        for path in (folder.bits, folder.curve):
            add_picture(self._writer, path, result.episodes)
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""
        self._writer.close()


def make_writer(path: Path) -> Any:
    """Return a writer of event files; raises ``AdrlGymError`` where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AdrlGymError(
            'TensorBoard is not installed: pip install "adrl-gym[agents]", or leave it out', parameter="tensorboard"
        ) from error
    return SummaryWriter(str(path))


def add_picture(writer: Any, path: Path, step: int) -> None:
    """Log a PNG file under its own name."""
    with Image.open(path) as picture:
        writer.add_image(path.stem, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
