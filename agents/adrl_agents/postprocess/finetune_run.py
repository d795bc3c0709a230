"""Files that a finetuning leaves in the folder of its run."""

import csv
import dataclasses
import io
import json
import time
from typing import Any

from adrl_agents.postprocess.finetune_plot import draw_finetuning
from adrl_agents.postprocess.run import LoadedRun
from adrl_agents.postprocess.weights import recipe_file
from adrl_agents.runs import beside_accuracy, git_commit, package_versions, png
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

    def __init__(self, run: LoadedRun, settings: Finetuning) -> None:
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
        """Write all files; return the content of finetune.json."""
        if done.best != self._saved:
            self.report.unlink(missing_ok=True)  # no report stands beside weights that it does not describe
            save_packed(self.network, done.network)
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
            accuracy = f"test accuracy {first.test_accuracy:.2f} -> {best.test_accuracy:.2f} (float {test:.2f})"
            return accuracy + beside_accuracy(best.test_agreement, best.test_kl, best.test_loss)
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
            "test_agreement": done.best.test_agreement,
            "test_kl": done.best.test_kl,
            "test_loss": done.best.test_loss,
            "start_search_accuracy": done.epochs[0].search_accuracy,
            "start_test_accuracy": done.epochs[0].test_accuracy,
            "start_test_agreement": done.epochs[0].test_agreement,
            "start_test_kl": done.epochs[0].test_kl,
            "start_test_loss": done.epochs[0].test_loss,
            "float_search_accuracy": done.float_search_accuracy,
            "float_test_accuracy": done.float_test_accuracy,
            "float_test_loss": done.float_test_loss,
            "data": problem.splits.name,
            "data_source": problem.splits.source,
            "quantizer": problem.quantizer,
            "checkpoint": problem.checkpoint,
            "images_hash": problem.images_hash,
            "finetuned": content_hash(done.network.network.state_dict()),
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
