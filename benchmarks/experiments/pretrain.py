"""Train the checkpoints that ship with the package, on the 45,000 images of CIFAR-10's train split.

    python -m benchmarks.experiments.pretrain --network resnet20 --data-root D

Resumable: the trainer's whole state is written after every epoch, and a second call goes on from it.
After the last epoch the checkpoint goes into the package and the log to ``benchmarks/results/pretrain/``; a
call on a finished training only does that. The search and test splits are never looked at;
``benchmarks/experiments/evaluate.py`` measures the result.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from adrl_gym.datasets import ImageSet, augment, load_cifar10
from adrl_gym.models import NETWORKS, SHIPPED, collect_statistics, save_checkpoint
from benchmarks.harness.csv_file import write_rows

LOGS = Path(__file__).parents[1] / "results" / "pretrain"
RE_ESTIMATION_IMAGES = 20_000
PEAK_LEARNING_RATE = {"resnet20": 0.2, "cifarnet": 0.05}  # without batch norm, a smaller one


@dataclass(kw_only=True)
class Training:
    """Settings of SGD."""

    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD, on every parameter."""
    seed: int = 0
    """Seed of initial weights, image order and augmentation."""
    threads: int = 0
    """CPU threads; 0 is PyTorch's choice."""
    bfloat16: bool = False
    """Train in bfloat16 autocast (for processors that compute it natively)."""


@dataclass(kw_only=True)
class Options(Training):
    """Options of the training."""

    network: Literal["resnet20", "cifarnet"]
    """The network to train."""
    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    output: Path = Path("runs/pretrain")
    """Folder for the trainer's state."""


def train_network(
    make: Callable[[], nn.Module], peak: float, options: Training, data: ImageSet, state_file: Path
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Return the trained network and one row of the log an epoch; goes on from the state in a file.

    Args:
        make: a network with random weights.
        peak: largest learning rate.
        options: all other settings.
        data: images with labels.
        state_file: of the trainer, named as the network; replaced whole after every epoch.
    """
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    assert data.labels is not None
    network = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), peak, 0.9, weight_decay=options.weight_decay, nesterov=True)
    steps = len(data) // options.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        peak,
        total_steps=options.epochs * steps,
        pct_start=0.2,
        final_div_factor=1e3,
        cycle_momentum=False,
    )
    state_file.parent.mkdir(parents=True, exist_ok=True)
    log: list[dict[str, float]] = []
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        log = state["log"]
    for epoch in range(len(log), options.epochs):
        network.train()
        start, total_loss, correct = time.monotonic(), 0.0, 0
        order = torch.randperm(len(data), generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{options.epochs}", disable=None):
            chosen = order[step * options.batch_size : (step + 1) * options.batch_size]
            x = augment(data.images[chosen], generator)  # (B, 3, 32, 32), channels last
            labels = data.labels[chosen]  # (B,)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
                logits = network(x).float()  # (B, 10)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if not math.isfinite(loss.item()):
                raise SystemExit(f"pretrain: the loss became {loss.item()} in epoch {epoch + 1}")
            total_loss += loss.item()
            correct += int((logits.argmax(1) == labels).sum())
        log.append(
            {
                "epoch": epoch + 1,
                "learning_rate": round(float(schedule.get_last_lr()[0]), 8),
                "train_loss": round(total_loss / steps, 5),
                "train_accuracy": round(100 * correct / (steps * options.batch_size), 3),
                "seconds": round(time.monotonic() - start, 1),
            }
        )
        print(state_file.stem, log[-1], flush=True)
        state = {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "generator": generator.get_state(),
            "dropout": torch.get_rng_state(),
            "log": log,
        }
        torch.save(state, state_file.with_suffix(".part"))
        state_file.with_suffix(".part").replace(state_file)
    return network, log


def export_network(network: nn.Module, images: Tensor, path: Path) -> str:
    """Write the checkpoint with its weights in half precision, to which they are rounded once and for all.

    Training in bfloat16 leaves batch norms the moments of bfloat16 activations, so they are estimated again in
    float32 on augmented training images ``(N, 3, 32, 32)`` (Wu and Johnson 2021, "Rethinking Batch in BatchNorm",
    section 3). A network without batch norm has nothing that remembers its activations: their means and variances
    over the training images are stored beside its weights. Returns the content hash.
    """
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return save_checkpoint(path, state, collect_statistics(network.eval(), images.split(250)))
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    network.train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for batch in images[:RE_ESTIMATION_IMAGES].split(500):
            network(augment(batch, generator).to(memory_format=torch.channels_last))
    state |= {name: tensor for name, tensor in network.state_dict().items() if ".running_" in name}
    return save_checkpoint(path, state, {})


def main(options: Options) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    data = load_cifar10(options.data_root, "train")
    peak, state_file = PEAK_LEARNING_RATE[options.network], options.output / f"{options.network}.pt"
    network, log = train_network(NETWORKS[options.network].make, peak, options, data, state_file)
    path = SHIPPED / f"{options.network}.safetensors"
    print(f"{path}: checkpoint {export_network(network, data.images, path)}")
    write_rows(LOGS / f"{options.network}.csv", log)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
