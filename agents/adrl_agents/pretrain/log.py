"""Log of a training: rows, the curve against the knapsack's line, Weights & Biases and TensorBoard."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from adrl_agents.pretrain.options import PretrainOptions
from adrl_agents.runs import BLUE, GREY, RunFolder, clean
from adrl_agents.search import add_picture, import_wandb, make_writer, start_run, where
from adrl_gym.costs import budget_name

WINDOW = 100  # episodes of the moving mean
FAMILY_METRICS = "reward", "mean_reward", "kl", "knapsack_kl"


@dataclass(frozen=True)
class FamilyEpisode:
    """One episode of a training, a row of ``episodes.csv``.

    Attributes:
        episode: number, from 1.
        network, quantizer, budget: what was drawn.
        reward: logarithm of the knapsack's divergence over this one's; 0 is as good as the knapsack.
        mean_reward: over the last episodes, ``WINDOW`` at most.
        kl, knapsack_kl: divergences on the search images, in nats.
        seconds: since the training began.
    """

    episode: int
    network: str
    quantizer: str
    budget: str
    reward: float
    mean_reward: float
    kl: float
    knapsack_kl: float
    seconds: float


def next_row(rows: Sequence[FamilyEpisode], info: dict[str, Any], reward: float, seconds: float) -> FamilyEpisode:
    """Return the row of the episode after ``rows``, from the last step's ``info`` and reward."""
    last = [row.reward for row in rows[1 - WINDOW :]] if rows else []
    return FamilyEpisode(
        episode=len(rows) + 1,
        network=info["network"],
        quantizer=info["quantizer"],
        budget=budget_name(info["budget"]),
        reward=round(reward, 6),
        mean_reward=round(statistics.fmean([*last, reward]), 6),
        kl=round(info["kl"], 8),
        knapsack_kl=round(info["knapsack_kl"], 8),
        seconds=round(seconds, 3),
    )


def draw_mean_reward(rows: Sequence[FamilyEpisode]) -> Figure:
    """Draw the moving mean of the reward over episodes, and the knapsack's line."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    episodes = [row.episode for row in rows]
    axes.plot(episodes, [row.reward for row in rows], ".", color=GREY, markersize=2, alpha=0.5, label="an episode")
    axes.plot(episodes, [row.mean_reward for row in rows], color=BLUE, label=f"mean of {WINDOW}")
    axes.axhline(0, color="black", linewidth=1, linestyle="--", label="knapsack on the same table")
    axes.set_xlabel("episode")
    axes.set_ylabel("reward: log of the knapsack's KL over the policy's")
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    return figure


class PretrainTracker(Protocol):
    """A place outside the training's own files that it is logged to."""

    @property
    def where(self) -> str:
        """One line for the user."""

    def log(self, row: FamilyEpisode) -> None:
        """Log one episode."""

    def finish(self, curve: Path, episodes: int) -> None:
        """Log the picture, and end."""

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""


class PretrainWandbLogger:
    """A training in Weights & Biases: ``pretrain/<metric>`` over ``episode``, the knapsack's line beside them."""

    def __init__(self, options: PretrainOptions) -> None:
        self._wandb, name = import_wandb(), options.output.resolve().name
        self._run = start_run(
            self._wandb,
            RunFolder(options.output),
            project=options.wandb_project,
            group=options.wandb_group or name,
            name=f"{name}-s{options.seed}",
            tags=["pretrain", options.decision],
            config=options.recorded(),
        )
        self._run.define_metric("episode", hidden=True)
        self._run.define_metric("pretrain/*", step_metric="episode")

    @property
    def where(self) -> str:
        """The run's address, or how to upload it later."""
        return f"Weights & Biases: {where(self._run)}"

    def log(self, row: FamilyEpisode) -> None:
        """Log one episode."""
        self._run.log({"episode": row.episode, **logged(row)})

    def finish(self, curve: Path, episodes: int) -> None:
        """Log the picture, and end."""
        self._run.log({"curve": self._wandb.Image(str(curve))})
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""
        self._run.finish(exit_code=exit_code)


class PretrainTensorboardLogger:
    """A training in TensorBoard: ``pretrain/<metric>`` over the episode, the knapsack's line beside them."""

    def __init__(self, options: PretrainOptions) -> None:
        self._path = options.output / "tensorboard"
        self._writer = make_writer(self._path)

    @property
    def where(self) -> str:
        """Say where the training can be looked at."""
        return f"TensorBoard: tensorboard --logdir {self._path}"

    def log(self, row: FamilyEpisode) -> None:
        """Log one episode."""
        for name, value in logged(row).items():
            self._writer.add_scalar(name, value, row.episode)
        self._writer.flush()

    def finish(self, curve: Path, episodes: int) -> None:
        """Log the picture, and end."""
        add_picture(self._writer, curve, episodes)
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""
        self._writer.close()


def logged(row: FamilyEpisode) -> dict[str, float]:
    """Return metric -> value of one episode; the knapsack's reward is 0 by definition."""
    values = dataclasses.asdict(row)
    return {**{f"pretrain/{name}": values[name] for name in FAMILY_METRICS}, "pretrain/knapsack": 0.0}
