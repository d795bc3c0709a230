"""What a finetuning leaves in the folder of its run, and in Weights & Biases."""

import csv
import dataclasses
import io
import json
import secrets
import time
from typing import Any

from adrl_agents.postprocess.load_run import Run
from adrl_agents.postprocess.weights import recipe_file
from adrl_agents.runs import draw_finetuning, git_commit, package_versions, png
from adrl_agents.search import import_wandb, start_run, where
from adrl_gym.errors import AdrlGymError
from adrl_gym.export import save_packed
from adrl_gym.files import write_whole
from adrl_gym.models import content_hash
from adrl_gym.qat import Epoch, Finetuned, Finetuning

PICTURE_SECONDS = 5.0  # between two pictures


class FinetuneFolder:
    """Files of a finetuning, each replaced whole.

    Args:
        run: the search whose bits are finetuned.
        settings: of the finetuning.

    Attributes:
        network: the best so far, a packed file.
        state: what a finetuning is resumed from.
        start: the recipe of the weights that it began with.
        wandb_run: its id in Weights & Biases, if it has one.
    """

    def __init__(self, run: Run, settings: Finetuning) -> None:
        path = run.folder.path
        self.run, self.settings, self.start = run, settings, "direct"
        self.network = recipe_file(run, "finetuned")
        self.log, self.report, self.curve = path / "finetune.csv", path / "finetune.json", path / "finetune.png"
        self.state = path / "finetune.pt"
        self.wandb_run: str | None = None
        self._saved: Epoch | None = None  # whose weights are in the packed file
        self._due = 0.0  # when the picture is drawn again

    def claim(self, resume: bool) -> None:
        """Refuse to replace a finetuning that was not asked to go on."""
        if not self.state.exists():
            return
        if not resume:
            raise AdrlGymError(
                f"{self.state.parent} holds a finetuning: go on with --resume, or remove {self.state} to begin anew"
            )
        if self.report.exists():
            self.wandb_run = json.loads(self.report.read_text()).get("wandb_run")

    def save(self, done: Finetuned) -> dict[str, Any]:
        """Write all files; gives what finetune.json says."""
        problem = self.run.problem
        if done.best != self._saved:
            self.report.unlink(missing_ok=True)  # no report stands beside weights that it does not describe
            origin = {"quantizer": problem.quantizer, "name": problem.name, "checkpoint": problem.checkpoint}
            save_packed(self.network, done.network, self.run.bits, **origin)
            self._saved = done.best
        write_whole(self.log, log_csv(done).encode())
        report = self._report(done)
        write_whole(self.report, (json.dumps(report, indent=2) + "\n").encode())
        if report["status"] == "finished" or time.monotonic() >= self._due:
            write_whole(self.curve, png(draw_finetuning(done, self.run.result, self.start)))
            self._due = time.monotonic() + PICTURE_SECONDS
        return report

    def summary(self, done: Finetuned) -> str:
        """One line for people."""
        first, best, test = done.epochs[0], done.best, done.float_test_accuracy
        if test is not None:
            return f"test accuracy {first.test_accuracy:.2f} -> {best.test_accuracy:.2f} (float {test:.2f})"
        name, reference = self.run.accuracy_name, done.float_search_accuracy
        return f"{name} {first.search_accuracy:.2f} -> {best.search_accuracy:.2f} (float {reference:.2f})"

    def _report(self, done: Finetuned) -> dict[str, Any]:
        problem = self.run.problem
        settings = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(Finetuning)}
        return {
            "status": "finished" if len(done.epochs) > self.settings.epochs else "running",
            "start": self.start,
            "settings": {**settings, "precision": done.precision},
            "bits": self.run.bits.as_dict(),
            "epochs": len(done.epochs) - 1,
            "best_epoch": done.best.epoch,
            "search_accuracy": done.best.search_accuracy,
            "test_accuracy": done.best.test_accuracy,
            "start_search_accuracy": done.epochs[0].search_accuracy,
            "start_test_accuracy": done.epochs[0].test_accuracy,
            "float_search_accuracy": done.float_search_accuracy,
            "float_test_accuracy": done.float_test_accuracy,
            "data": problem.splits.name,
            "data_source": problem.splits.source,
            "quantizer": problem.quantizer,
            "checkpoint": problem.checkpoint,
            "finetuned": content_hash(done.network.state_dict()),
            "versions": package_versions(),
            "git_commit": git_commit(),
            "wandb_run": self.wandb_run,
        }


def log_csv(done: Finetuned) -> str:
    """A row for each epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(epoch) for epoch in done.epochs)
    return text.getvalue()


class FinetuneWandbLogger:
    """A finetuning in Weights & Biases: ``finetune/<metric>`` over ``epoch``; at the end picture, summary and files.

    Args:
        folder: of the finetuning; a resumed one goes on in its own run.
        project, group: in W&B; without a group, the run's own name.

    Raises:
        AdrlGymError: wandb is not installed, or cannot start.
    """

    def __init__(self, folder: FinetuneFolder, project: str, group: str | None) -> None:
        self._wandb, self._folder, self._logged = import_wandb(), folder, -1
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
        return where(self._run)

    def log(self, done: Finetuned) -> None:
        """The epochs that were not logged yet; of those that an earlier call trained, none."""
        if self._logged < 0 and len(done.epochs) > 1:
            self._logged = len(done.epochs) - 1
        for epoch in done.epochs[self._logged + 1 :]:
            values = {f"finetune/{name}": value for name, value in dataclasses.asdict(epoch).items() if name != "epoch"}
            self._run.log({"epoch": epoch.epoch, **{name: v for name, v in values.items() if v is not None}})
            self._logged = epoch.epoch

    def finish(self, report: dict[str, Any]) -> None:
        """Picture, summary and files, and the end of the run."""
        folder = self._folder
        self._run.log({"finetune": self._wandb.Image(str(folder.curve))})
        summary = ("test_accuracy", "float_test_accuracy", "search_accuracy", "best_epoch", "status")
        self._run.summary.update({name: report[name] for name in summary})
        artifact = self._wandb.Artifact(f"finetuned-{self._run.id}", type="network")
        for path in (folder.network, folder.report, folder.log):
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)
        self.close()

    def close(self, exit_code: int = 0) -> None:
        """End the run; what is logged stays."""
        self._run.finish(exit_code=exit_code)
