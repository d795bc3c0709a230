"""The history of a search: one row of ``episodes.csv`` for every configuration tried."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adrl_gym.costs import FLOAT_BITS
from adrl_gym.errors import AdrlGymError


@dataclass(frozen=True)
class Episode:
    """One configuration, as measured on the search images.

    Attributes:
        episode: counted from 1.
        reward: of the last step.
        accuracy, best_accuracy: in percent; of this configuration, and of the best so far, which is the one that agrees
            most with the float network.
        evaluations: passes over all search images since the search began.
        seconds: since the search began, without interruptions.
        agreement: share of images that get the float network's label, in percent.
        kl: divergence from the float network in nats.
        average_bits: bits a weight.
        bits: bit-width of each layer in forward order, separated by spaces.
        cpu_seconds: as ``seconds``, of the processor's time that the search used, whatever else ran on the machine; nan
            in a history of a version that did not measure it.
        cost_ratios: costs that the budget limits over the float network's, as ``size=0.0625``, separated by spaces;
            empty in a history of a version that knew the size alone.
    """

    episode: int
    reward: float
    accuracy: float
    best_accuracy: float
    evaluations: float
    seconds: float
    agreement: float
    kl: float
    average_bits: float
    bits: str
    cpu_seconds: float = math.nan
    cost_ratios: str = ""

    @property
    def size_ratio(self) -> float:
        """Size over the 32-bit size."""
        return self.average_bits / FLOAT_BITS


def history_csv(episodes: Sequence[Episode]) -> str:
    """The whole history as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in dataclasses.fields(Episode)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(episode) for episode in episodes)
    return text.getvalue()


def load_history(path: str | Path) -> list[Episode]:
    """The inverse of ``history_csv``; raises ``AdrlGymError`` for anything else."""
    types = {f.name: f.type for f in dataclasses.fields(Episode)}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        episodes = [Episode(**{k: types[k](v) for k, v in row.items()}) for row in rows]  # type: ignore[operator]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise AdrlGymError(f"cannot read the history {path}: {error!r}") from error
    if [e.episode for e in episodes] != list(range(1, len(episodes) + 1)):
        raise AdrlGymError(f"cannot read the history {path}: its episodes are not counted 1, 2, 3, ...")
    return episodes
