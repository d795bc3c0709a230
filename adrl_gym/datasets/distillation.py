"""Make a data-free set: images distilled from a network alone.

Gradient descent until each batch of images has the channel means and variances that the training images had in
every layer, and every image looks like its drawn class to the network (ZeroQ, Cai et al. 2020, section 3.1;
DeepInversion, Yin et al. 2020, equation 4). No real image is ever looked at.
"""

import copy
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from adrl_gym.datasets.datafree import save_datafree
from adrl_gym.datasets.fit import count_outputs
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole
from adrl_gym.graph import fast_layout, to_layout
from adrl_gym.models import LoadedNetwork, Preprocessing

GREY_LEVELS = 16  # of each colour channel in the file: 4 bits a pixel before compression
CLEARNESS = 6.0  # of the mixtures of classes: the log odds of an image's first class go from 0 to this
COLOUR = 0.1  # share of colour in the variance of the first images; the rest is grey
SHIFT = 3 / 32  # of the height and width; each step sees the images rolled by up to so much in both directions

Moments = tuple[Tensor, Tensor]  # mean and variance of each channel, (C,) both


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Settings of the distillation."""

    images: int = 256
    """Number of images."""
    batch_size: int = 64
    """Images whose statistics are matched together; fewer take less memory."""
    steps: int = 100
    """Steps of gradient descent on each batch."""
    learning_rate: float = 0.1
    """Learning rate of Adam at the first step; it falls to 0 along a cosine."""
    class_weight: float = 0.1
    """Weight of the cross-entropy to the drawn classes, against that of the statistics."""
    seed: int = 0
    """Seed of the first images, the drawn classes and the shifts."""

    def check(self) -> None:
        """Refuse impossible values; raises ``AdrlGymError``."""
        for name in ("images", "batch_size", "steps"):
            if getattr(self, name) < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {getattr(self, name)}", parameter=name)
        if not self.learning_rate > 0:
            raise AdrlGymError(f"learning_rate must be above 0, got {self.learning_rate:g}", parameter="learning_rate")
        for name in ("class_weight", "seed"):
            if not getattr(self, name) >= 0:
                raise AdrlGymError(f"{name} must be at least 0, got {getattr(self, name):g}", parameter=name)


def distill(
    loaded: LoadedNetwork,
    output: Path,
    settings: Distillation | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> None:
    """Distil images from a network into a file that ``data="FILE.npz"`` takes.

    Each finished batch is kept in the folder ``FILE.npz.parts`` until the file is whole, so that an interrupted call
    goes on with the next one. The same settings give the same images.

    Args:
        loaded: with batch norms, or with statistics of its layers' outputs (see ``collect_statistics``). Its
            preprocessing says what size, black and white are.
        output: a ``.npz`` file, made with its folder.
        settings: see ``Distillation``.
        device: where the network runs.
        progress: show a bar for each batch.

    Raises:
        AdrlGymError: nothing says what the network's layers saw in training, or what images it takes; settings that
            cannot be, a network with NaN, a folder that cannot be written.
    """
    settings = settings or Distillation()
    settings.check()
    if not loaded.statistics and not any(_keeps_statistics(module) for module in loaded.network.modules()):
        raise AdrlGymError(
            f"{loaded.name} has no batch norm that keeps statistics, so nothing says what its layers saw in training: "
            "no images can be distilled, so give real ones",
            parameter="data_root",
        )
    images = loaded.preprocessing()
    classes = count_outputs(loaded.network, torch.zeros(images.shape))
    # A copy: the caller's network keeps its gradients, its layout and its device.
    network = copy.deepcopy(loaded.network).requires_grad_(False).to(device)
    network = to_layout(network, fast_layout(network, torch.rand(2, *images.shape, device=device)))
    statistics = {name: tensor.to(device) for name, tensor in loaded.statistics.items()}
    parts, key = output.with_name(output.name + ".parts"), _key(loaded.checkpoint, images, settings)
    _make_folder(parts)
    batches = []
    for index, start in enumerate(range(0, settings.images, settings.batch_size)):
        count = min(settings.batch_size, settings.images - start)
        path = parts / f"{key}-{index}-{count}.npy"
        if not path.exists():
            generator = torch.Generator().manual_seed(1000 * settings.seed + index)
            with observed(network, statistics) as seen, tqdm(total=settings.steps, disable=not progress) as bar:
                bar.set_description(f"images {start + 1} to {start + count} of {settings.images}")
                levels = _descend(network, seen, images, (count, classes), settings, generator, bar)
            content = io.BytesIO()
            np.save(content, levels.cpu().numpy())
            write_whole(path, content.getvalue())
        batches.append(torch.from_numpy(np.load(path)))
    save_datafree(output, torch.cat(batches), images.black, images.span / (GREY_LEVELS - 1), loaded.checkpoint)
    shutil.rmtree(parts)


def _descend(
    network: nn.Module,
    seen: list[tuple[Moments, Moments]],
    images: Preprocessing,
    size: tuple[int, int],
    settings: Distillation,
    generator: torch.Generator,
    bar: "tqdm[NoReturn]",
) -> Tensor:
    """One batch in grey levels, uint8 ``(B, C, H, W)``; ``size`` is (images, classes), ``seen`` what is observed."""
    (channels, height, width), device = images.shape, next(network.parameters()).device
    black, span = (tensor[:, None, None].to(device) for tensor in (images.black, images.span))  # (C, 1, 1)
    noise = torch.randn(size[0], 1 + channels, height, width, generator=generator).to(device).requires_grad_()
    labels = drawn_labels(*size, generator).to(device)  # (B, K)
    optimizer = torch.optim.Adam([noise], settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    down, right = round(SHIFT * height), round(SHIFT * width)  # pixels
    for _ in range(settings.steps):
        rows = int(torch.randint(-down, down + 1, (), generator=generator))
        columns = int(torch.randint(-right, right + 1, (), generator=generator))
        seen.clear()
        x = clouds(noise).clamp(black, black + span).roll((rows, columns), (2, 3))  # (B, C, H, W)
        logits = network(x)  # (B, K)
        matched, classified = statistics_loss(seen), F.cross_entropy(logits, labels)
        loss = matched + settings.class_weight * classified
        if not torch.isfinite(loss):
            raise AdrlGymError(
                "the distillation diverges: check the network for NaN, or lower learning_rate",
                parameter="learning_rate",
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(statistics=f"{matched.item():.4f}", classes=f"{classified.item():.3f}", refresh=False)
        bar.update()
    levels = (clouds(noise.detach()).clamp(black, black + span) - black) / span * (GREY_LEVELS - 1)  # (B, C, H, W)
    return levels.round().to(torch.uint8)


@contextmanager
def observed(network: nn.Module, statistics: Mapping[str, Tensor]) -> Iterator[list[tuple[Moments, Moments]]]:
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
        if _keeps_statistics(module):
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
        noise: one plane of grey and one for each channel, ``(N, 1 + C, H, W)``.

    Returns:
        ``(N, C, H, W)``, of mean 0 and deviation 1.
    """
    height, width = noise.shape[2:]
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    lowest = 1 / (2 * max(height, width))
    falling = 1 / (rows[:, None].square() + columns.square()).sqrt().clamp_min(lowest)  # (H, W)
    falling = (falling / falling.square().mean().sqrt()).to(noise.device)
    mixed = (1 - COLOUR) ** 0.5 * noise[:, :1] + COLOUR**0.5 * noise[:, 1:]  # (N, C, H, W)
    return torch.fft.ifft2(torch.fft.fft2(mixed) * falling).real  # (N, C, H, W)


def drawn_labels(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """A probability for each class, ``(N, K)``: from an even mixture of two classes to almost one alone.

    Images of one class alone are so clear that even 3-bit networks agree on all of them, and rank no configuration.
    """
    first = torch.arange(count) % classes  # (N,)
    second = (first + torch.randint(1, classes, (count,), generator=generator)) % classes  # (N,)
    share = torch.sigmoid(CLEARNESS * torch.rand(count, 1, generator=generator))  # (N, 1) in [0.5, 0.998]
    return share * F.one_hot(first, classes) + (1 - share) * F.one_hot(second, classes)


def _keeps_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _key(checkpoint: str, images: Preprocessing, settings: Distillation) -> str:
    """Return a hash of all that makes a batch what it is; the number of batches is no part."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Distillation)}
    made_of = [checkpoint, dataclasses.asdict(images), {**values, "images": None}]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AdrlGymError(
            f"cannot make the folder {path} ({error.strerror}): choose another", parameter="output"
        ) from error
