"""Finetune the network that a search found.

Quantization-aware training with the bits as they are. Begins with the refitted weights where adrl-gym refit has made
them and they are not worse than the search's own. Writes into the run's folder, after every epoch:
finetuned.safetensors (the best epoch; a packed file, see docs/packed-format.md), finetune.csv, finetune.json,
finetune.png and finetune.pt (for --resume). Trains on the train split; of a data-free set, on its images, with more
--epochs.
"""

import sys
from dataclasses import dataclass
from typing import Any, Literal

from adrl_agents import interrupts
from adrl_agents.options import Switch
from adrl_agents.postprocess import (
    FinetuneFolder,
    FinetuneTensorboardLogger,
    FinetuneTracker,
    FinetuneWandbLogger,
    RunOptions,
    load_run,
    quantized_network,
)
from adrl_gym.errors import AdrlGymError
from adrl_gym.qat import Finetuned, Finetuning, finetune


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(Finetuning, RunOptions):
    """Options of the finetuning."""

    start: Literal["auto", "refit", "direct"] = "auto"
    """Weights to begin with: direct, those of adrl-gym refit, or auto: the better ones on the search images."""
    resume: Switch = False
    """Go on after the last whole epoch of a finetuning of the same options."""
    track: Switch = False
    """Log to Weights & Biases (WANDB_MODE=offline keeps it on this machine)."""
    tensorboard: Switch = False
    """Log to TensorBoard, into the folder tensorboard of the run."""
    wandb_project: str = "adrl-gym"
    """Project in Weights & Biases."""
    wandb_group: str | None = None
    """Group in Weights & Biases; without it, the name of the run's folder with -finetune behind it."""


OPTIONS = FinetuneOptions


def main(options: FinetuneOptions) -> dict[str, Any]:
    """Run one finetuning; return what finetune.json says."""
    options.check()
    run = load_run(options)
    problem = run.problem
    folder = FinetuneFolder(run, options)
    folder.claim(options.resume)
    if problem.splits.train is None:
        raise AdrlGymError(
            f"no training images beside those of the search ({problem.splits.source}): search with fewer --images, or "
            "on images distilled from the network (adrl-gym distill, then --data FILE.npz)"
        )
    network, recipe, why = quantized_network(run, options.start, among=("refit", "direct"))
    folder.start = recipe
    if why:
        print(why)
    print(f"begins with the {'refitted' if recipe == 'refit' else 'directly quantized'} weights")
    train = problem.splits.train()
    print(f"data: {len(train):,} training images; {problem.splits.source}")
    trackers = _trackers(folder, options)
    for tracker in trackers:
        print(tracker.where)

    def keep(done: Finetuned) -> None:
        folder.save(done)
        for tracker in trackers:
            tracker.log(done)
        interrupts.raise_if_pressed()

    try:
        done = finetune(
            problem.network,
            network,
            train=train,
            search=problem.splits.search,
            test=problem.splits.test,
            settings=options,
            device=next(problem.network.parameters()).device,
            state=folder.state,
            resume=options.resume,
            on_epoch=keep,
            progress=sys.stderr.isatty(),
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and folder.network.exists():
            print(f"the best so far is in {folder.network}; go on with --resume", file=sys.stderr)
        for tracker in trackers:
            tracker.close(exit_code=1)
        raise
    report = folder.save(done)
    for tracker in trackers:
        tracker.finish(report)
    print(f"{folder.network}: {folder.summary(done)}")
    return report


def _trackers(folder: FinetuneFolder, options: FinetuneOptions) -> list[FinetuneTracker]:
    trackers: list[FinetuneTracker] = []
    if options.track:
        trackers.append(FinetuneWandbLogger(folder, options.wandb_project, options.wandb_group))
    if options.tensorboard:
        trackers.append(FinetuneTensorboardLogger(folder))
    return trackers
