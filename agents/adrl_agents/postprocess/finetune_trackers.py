"""Logs of a finetuning beside its files: Weights & Biases and TensorBoard."""

import dataclasses
import secrets
from collections.abc import Iterator
from typing import Any, Protocol

from adrl_agents.postprocess.finetune_run import FinetuneFolder
from adrl_agents.search import add_picture, import_wandb, make_writer, start_run, where
from adrl_gym.qat import Finetuned, Finetuning


class FinetuneTracker(Protocol):
    """A place outside the run's own files that a finetuning is logged to."""

    @property
    def where(self) -> str:
        """One line for the user."""

    def log(self, done: Finetuned) -> None:
        """Log the epochs that were not logged yet."""

    def finish(self, report: dict[str, Any]) -> None:
        """Log what is known at the end, and end."""

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""


class NewEpochs:
    """The epochs that were not logged yet."""

    def __init__(self) -> None:
        self._logged = -1

    def of(self, done: Finetuned) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield each new epoch and its ``finetune/<metric>``; of those that an earlier call trained, none."""
        if self._logged < 0 and len(done.epochs) > 1:
            self._logged = len(done.epochs) - 1
        for epoch in done.epochs[self._logged + 1 :]:
            values = {name: value for name, value in dataclasses.asdict(epoch).items() if name != "epoch"}
            yield epoch.epoch, {f"finetune/{name}": value for name, value in values.items() if value is not None}
            self._logged = epoch.epoch


class FinetuneWandbLogger:
    """A finetuning in Weights & Biases: ``finetune/<metric>`` over ``epoch``; at the end picture, summary and files.

    Args:
        folder: of the finetuning; a resumed one goes on in its own run.
        project, group: in W&B; without a group, the run's own name.

    Raises:
        AdrlGymError: wandb is not installed, or cannot start.
    """

    def __init__(self, folder: FinetuneFolder, project: str, group: str | None) -> None:
        self._wandb, self._folder, self._epochs = import_wandb(), folder, NewEpochs()
        run, problem = folder.run, folder.run.problem
        name = f"{run.folder.path.resolve().name}-finetune"
        folder.wandb_run = folder.wandb_run or secrets.token_hex(4)
        self._run = start_run(
            self._wandb,
            run.folder,
            project=project,
            group=group or name,
            name=f"{name}-s{folder.settings.seed}",
            tags=["finetune", run.result.agent, problem.name, problem.quantizer, folder.start, problem.splits.name],
            config={
                **{field.name: getattr(folder.settings, field.name) for field in dataclasses.fields(Finetuning)},
                "start": folder.start,
                "agent": run.result.agent,
                "budget": problem.budget,
                "bits": run.bits.as_dict(),
                "data_source": problem.splits.source,
                "checkpoint": problem.checkpoint,
            },
            id=folder.wandb_run,
        )
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("finetune/*", step_metric="epoch")

    @property
    def where(self) -> str:
        """The run's address, or how to upload it later."""
        return f"Weights & Biases: {where(self._run)}"

    def log(self, done: Finetuned) -> None:
        """Log the epochs that were not logged yet; of those that an earlier call trained, none."""
        for epoch, values in self._epochs.of(done):
            self._run.log({"epoch": epoch, **values})

    def finish(self, report: dict[str, Any]) -> None:
        """Picture, summary and files, and the end of the run."""
        folder = self._folder
        self._run.log({"finetune": self._wandb.Image(str(folder.curve))})
        on_test = ("test_accuracy", "test_agreement", "test_kl", "test_loss", "float_test_accuracy", "float_test_loss")
        summary = (*on_test, "search_accuracy", "best_epoch", "status")
        self._run.summary.update({name: report[name] for name in summary})
        artifact = self._wandb.Artifact(f"finetuned-{self._run.id}", type="network")
        for path in (folder.network, folder.report, folder.log):
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End the run; what is logged stays."""
        self._run.finish(exit_code=exit_code)


class FinetuneTensorboardLogger:
    """A finetuning in TensorBoard: ``finetune/<metric>`` over the epoch, and the picture at the end.

    Args:
        folder: of the finetuning.

    Raises:
        AdrlGymError: TensorBoard is not installed.
    """

    def __init__(self, folder: FinetuneFolder) -> None:
        self._folder, self._epochs = folder, NewEpochs()
        self._path = folder.run.folder.path / "tensorboard"
        self._writer = make_writer(self._path)

    @property
    def where(self) -> str:
        """Say where the run can be looked at."""
        return f"TensorBoard: tensorboard --logdir {self._path}"

    def log(self, done: Finetuned) -> None:
        """Log the epochs that were not logged yet."""
        for epoch, values in self._epochs.of(done):
            for name, value in values.items():
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def finish(self, report: dict[str, Any]) -> None:
        """Log the picture, and end."""
        add_picture(self._writer, self._folder.curve, report["epochs"])
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End; what is logged stays."""
        self._writer.close()
