"""Make the data-free set of a network: images distilled from its checkpoint alone.

    python benchmarks/distill.py --network resnet20

Gradient descent until each batch of images has the channel means and variances that the
training images had in every layer, and every image looks like its drawn class to the network (ZeroQ, Cai et
al. 2020, section 3.1; DeepInversion, Yin et al. 2020, equation 4). No real image is ever looked at.
Resumable: each batch is kept in ``output``, and a second call goes on with the next one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from adrl_gym.data.cifar10 import MEAN, STD
from adrl_gym.data.datafree import FOLDER, load_datafree, save_datafree
from adrl_gym.errors import AdrlGymError
from adrl_gym.networks import load_network
from adrl_gym.networks.checkpoints import SHIPPED, load_checkpoint

GREY_LEVELS = 16  # of each colour channel in the file: 4 bits a pixel before compression
CLEARNESS = 6.0  # of the mixtures of classes: the log odds of an image's first class go from 0 to this
COLOUR = 0.1  # share of colour in the variance of the first images; the rest is grey
SHIFT = 3  # pixels; each step sees the images rolled by up to so many in both directions
BLACK = -torch.tensor(MEAN)[:, None, None] / torch.tensor(STD)[:, None, None]  # a normalised black pixel, (3, 1, 1)
WHITE = 1 / torch.tensor(STD)[:, None, None]  # from black to white, (3, 1, 1)

Moments = tuple[Tensor, Tensor]  # mean and variance of each channel, (C,) both


@dataclass
class Options:
    """Options of the distillation."""

    network: Literal["resnet20", "cifarnet"]
    """The network whose shipped checkpoint is distilled."""
    output: Path = Path("runs/distill")
    """Folder for finished batches."""
    images: int = 1000
    """How many images, in whole batches."""
    batch_size: int = 250
    """Images whose statistics are matched together."""
    steps: int = 100
    """Steps of gradient descent on each batch."""
    learning_rate: float = 0.1
    """Of Adam at the first step; it falls to 0 along a cosine."""
    class_weight: float = 0.1
    """Weight of the cross-entropy to the drawn classes, against that of the statistics."""
    seed: int = 0
    """Seed of the first images, the drawn classes and the shifts."""
    threads: int = 0
    """CPU threads; 0 is PyTorch's choice."""


@contextmanager
def observed(network: nn.Module, statistics: dict[str, Tensor]) -> Iterator[list[tuple[Moments, Moments]]]:
    """While it is open, each forward pass adds (moments seen, moments wanted) of every layer to the list.

    Batch norms keep what is wanted of their inputs; for a network without, ``statistics`` has it of
    the layers' outputs.
    """
    seen: list[tuple[Moments, Moments]] = []

    def add(x: Tensor, mean: Tensor, variance: Tensor) -> None:
        others = [axis for axis in range(x.dim()) if axis != 1]
        own_mean = x.mean(others, dtype=torch.float32)  # (C,)
        own_variance = x.square().mean(others, dtype=torch.float32) - own_mean.square()  # (C,); faster than var_mean
        seen.append(((own_mean, own_variance), (mean, variance)))

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(lambda m, x: add(x[0], m.running_mean, m.running_var)))
        elif f"{name}.mean" in statistics:
            mean, variance = statistics[f"{name}.mean"], statistics[f"{name}.var"]
            handles.append(
                module.register_forward_hook(lambda _m, _x, y, mean=mean, variance=variance: add(y, mean, variance))
            )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def statistics_loss(pairs: list[tuple[Moments, Moments]]) -> Tensor:
    """Mean over layers and channels of the squared errors of mean and deviation, in deviations wanted."""
    losses = []
    for (mean, variance), (wanted_mean, wanted_variance) in pairs:
        scale = (wanted_variance + 1e-5).sqrt()  # (C,)
        ratio = (variance.clamp_min(0) + 1e-5).sqrt() / scale  # (C,)
        losses.append((((mean - wanted_mean) / scale).square() + (ratio - 1).square()).mean())
    return torch.stack(losses).mean()


def clouds(noise: Tensor) -> Tensor:
    """White noise to images whose amplitudes fall with frequency as in natural scenes (Field 1987).

    Descent on such noise rather than on pixels keeps images smooth (cf. Olah et al. 2017, "Feature Visualization").
    That matters: an error in a first layer's filter weighs as much as the light that falls on all of it.

    Args:
        noise: one plane of grey and three of colour, ``(N, 4, 32, 32)``.

    Returns:
        Normalised images ``(N, 3, 32, 32)``.
    """
    frequency = torch.fft.fftfreq(32)
    falling = 1 / (frequency[:, None].square() + frequency.square()).sqrt().clamp_min(1 / 64)  # (32, 32)
    falling = falling / falling.square().mean().sqrt()
    mixed = (1 - COLOUR) ** 0.5 * noise[:, :1] + COLOUR**0.5 * noise[:, 1:]  # (N, 3, 32, 32)
    images = torch.fft.ifft2(torch.fft.fft2(mixed) * falling).real  # (N, 3, 32, 32)
    return images.clamp(BLACK, BLACK + WHITE)


def drawn_labels(count: int, generator: torch.Generator) -> Tensor:
    """A probability for each class, ``(N, 10)``: from an even mixture of two classes to almost one alone.

    Images of one class alone are so clear that even 3-bit networks agree on all of them, and rank no configuration.
    """
    first = torch.arange(count) % 10  # (N,)
    second = (first + torch.randint(1, 10, (count,), generator=generator)) % 10  # (N,)
    share = torch.sigmoid(CLEARNESS * torch.rand(count, 1, generator=generator))  # (N, 1) in [0.5, 0.998]
    return share * F.one_hot(first, 10) + (1 - share) * F.one_hot(second, 10)


def distill(network: nn.Module, statistics: dict[str, Tensor], options: Options, batch: int) -> Tensor:
    """One batch of images, in grey levels; uint8 ``(B, 3, 32, 32)``."""
    generator = torch.Generator().manual_seed(1000 * options.seed + batch)
    noise = torch.randn(options.batch_size, 4, 32, 32, generator=generator).requires_grad_()
    labels = drawn_labels(options.batch_size, generator)  # (B, 10)
    optimizer = torch.optim.Adam([noise], options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    with observed(network, statistics) as pairs, tqdm(range(options.steps), f"batch {batch}", disable=None) as bar:
        for _ in bar:
            down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
            pairs.clear()
            images = clouds(noise).roll((down, right), (2, 3))  # (B, 3, 32, 32)
            logits = network(images.contiguous(memory_format=torch.channels_last))  # (B, 10)
            matched, classified = statistics_loss(pairs), F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            (matched + options.class_weight * classified).backward()
            optimizer.step()
            schedule.step()
            bar.set_postfix(statistics=f"{matched.item():.4f}", classes=f"{classified.item():.3f}")
    levels = (clouds(noise.detach()) - BLACK) / WHITE * (GREY_LEVELS - 1)  # (B, 3, 32, 32)
    return levels.round().to(torch.uint8)


def main(options: Options) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    loaded = load_network(options.network)
    network = loaded.network.requires_grad_(False).to(memory_format=torch.channels_last)
    statistics = load_checkpoint(SHIPPED / f"{options.network}.safetensors").statistics
    options.output.mkdir(parents=True, exist_ok=True)
    batches = []
    for batch in range(options.images // options.batch_size):
        path = options.output / f"{options.network}-{loaded.checkpoint[:12]}-{options.seed}-{batch}.pt"
        if not path.exists():
            torch.save(distill(network, statistics, options, batch), path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
        batches.append(torch.load(path, weights_only=True))
    levels = torch.cat(batches)  # (N, 3, 32, 32)
    target = FOLDER / f"{options.network}.npz"
    save_datafree(target, levels, BLACK.flatten(), WHITE.flatten() / (GREY_LEVELS - 1), loaded.checkpoint)
    images = load_datafree(target, loaded.checkpoint)
    print(f"{target}: {len(images):,} images, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except AdrlGymError as error:
        print(f"distill: {error}", file=sys.stderr)
        sys.exit(2)
