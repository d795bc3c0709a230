"""Weights & Biases, for those who ask for it. Nothing else of this package imports wandb."""

import dataclasses
import secrets
from pathlib import Path
from types import ModuleType
from typing import Any

from adrl_agents.runs import Episode, RunFolder, SearchResult
from adrl_agents.search.state import SearchState
from adrl_gym.costs import budget_name
from adrl_gym.errors import AdrlGymError

METRICS = ("reward", "accuracy", "best_accuracy", "agreement", "kl", "average_bits", "seconds")


class WandbLogger:
    """One run in Weights & Biases.

    Logged after every episode: ``search/<metric>`` over ``episode``, and ``cost/best_accuracy`` over
    ``evaluations``, which compares agents by the work they took. At the end: pictures, summary, and
    ``result.json`` with its history as an artifact.

    Args:
        record: of the search; a resumed search goes on in its own run.
        folder: of the run; W&B keeps its files in the ``wandb`` folder below.

    Raises:
        AdrlGymError: wandb is not installed, or cannot start.
    """

    def __init__(self, record: SearchState, folder: RunFolder) -> None:
        self._wandb = import_wandb()
        options, problem = record.options, record.problem
        name = options.run_name(record.agent)
        record.wandb_run = record.wandb_run or secrets.token_hex(4)
        self._run = start_run(
            self._wandb,
            folder,
            project=options.wandb_project,
            group=options.wandb_group or name,
            name=f"{name}-s{options.seed}",
            tags=[
                record.agent,
                problem.name,
                options.quantizer,
                f"budget {budget_name(options.budget)}",
                problem.splits.name,
                f"commit {record.commit[:12]}" if record.commit else "no commit",
            ],
            config={
                **options.recorded(),
                "agent": record.agent,
                "data_source": problem.splits.source,
                "checkpoint": problem.checkpoint,
                "layers": [layer.name for layer in problem.layers],
            },
            id=record.wandb_run,
        )
        self._run.define_metric("episode", hidden=True)
        self._run.define_metric("evaluations", hidden=True)
        self._run.define_metric("search/*", step_metric="episode")
        self._run.define_metric("cost/*", step_metric="evaluations")

    @property
    def where(self) -> str:
        """The run's address, or how to upload it later."""
        return f"Weights & Biases: {where(self._run)}"

    def log(self, episode: Episode) -> None:
        """One episode's metrics."""
        values = dataclasses.asdict(episode)
        self._run.log(
            {
                "episode": episode.episode,
                "evaluations": episode.evaluations,
                **{f"search/{metric}": values[metric] for metric in METRICS},
                "cost/best_accuracy": episode.best_accuracy,
            }
        )

    def finish(self, result: SearchResult, folder: RunFolder) -> None:
        """Pictures, summary and the result, and the end of the run."""
        self._run.log({path.stem: self._wandb.Image(str(path)) for path in (folder.bits, folder.curve)})
        summary = (
            "test_accuracy",
            "test_agreement",
            "test_kl",
            "test_loss",
            "float_test_accuracy",
            "search_accuracy",
            "size_ratio",
            "average_bits",
            "cost_ratios",
            "status",
        )
        self._run.summary.update({name: getattr(result, name) for name in summary})
        artifact = self._wandb.Artifact(f"result-{self._run.id}", type="result")
        for path in (folder.result, folder.history):
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End the run; what is logged stays."""
        self._run.finish(exit_code=exit_code)


def start_run(wandb: ModuleType, folder: RunFolder, **keywords: Any) -> Any:
    """A run of W&B, which keeps its files in the folder and writes nothing on the screen.

    Raises:
        AdrlGymError: wandb cannot start.
    """
    settings = wandb.Settings(silent=True, console="off")
    try:
        return wandb.init(dir=folder.path, resume="allow", settings=settings, **keywords)
    except wandb.errors.Error as error:
        raise AdrlGymError(
            f"Weights & Biases cannot start ({error}): log in with wandb login, or set WANDB_MODE=offline"
        ) from error


def where(run: Any) -> str:
    """The address of a run of W&B, or how to upload it later."""
    return f"offline; upload it later with: wandb sync {Path(run.dir).parent}" if run.offline else str(run.url)


def import_wandb() -> ModuleType:
    """W&B, for those who ask for it; raises ``AdrlGymError`` where it is not installed."""
    try:
        import wandb
    except ImportError as error:
        raise AdrlGymError(
            'wandb is not installed: pip install "adrl-gym[agents]", or leave it out', parameter="track"
        ) from error
    return wandb
