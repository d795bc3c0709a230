"""Train a quantized network, one epoch at a time."""

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adrl_gym.datasets import ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import DTYPES, Precision
from adrl_gym.graph import fast_layout, placed
from adrl_gym.outputs import IGNORED, by_position
from adrl_gym.qat.inputs import LearnedGrids, end_training
from adrl_gym.qat.loader import Feed
from adrl_gym.qat.settings import Finetuning
from adrl_gym.qat.teacher import FloatTeacher
from adrl_gym.qat.weights import QuantizedWeights
from adrl_gym.quantization import QuantizedNetwork

_LABELS = 0.3  # share of the cross-entropy to the labels in the loss of a distillation
_LATENT = 10.0  # learning rate of the latent weights, which are in steps, over that of biases and norms
_STEPS = 0.3  # ... and of the steps' logarithms
_WARM_UP = 0.03  # share of the training in which the learning rate rises
_HORIZON = 50  # steps that the average looks back on ...
_HORIZON_SHARE = 0.1  # ... or this share of a shorter training
_COMPARED = 8  # images, to choose the layout by


class Trainer:
    """A quantized network in training.

    The loss is the divergence of its predictions from the float network's on the same crops and, where labels are
    known, for a smaller part their cross-entropy to these (Hinton et al. 2015); without distillation the latter alone.
    Everything is trained: latent weights and steps, the scales of quantized inputs, biases, and the scales and shifts
    of norms. Batch norms keep their statistics, as in the network that is measured: the quantized weights and biases
    were made for these.

    What comes out is not the network of the last step, but the exponential moving average of latent weights and all
    else that is trained (Polyak and Juditsky 1992).

    All that is random in an epoch follows from the seed and its number alone, so that nothing of it has to be kept for
    going on where a training stopped.

    Args:
        start: copied, never changed.
        teacher: the float network, or ``None`` to learn labels.
        feed: training images.
        settings: of the finetuning.
        precision: of the passes in training.
        device: where it trains.
    """

    def __init__(
        self,
        start: QuantizedNetwork,
        *,
        teacher: FloatTeacher | None,
        feed: Feed,
        settings: Finetuning,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self._start = start
        self._weights = QuantizedWeights(start).to(device)
        self._network = copy.deepcopy(start.network).to(device).requires_grad_(True)
        grids = LearnedGrids(self._network).to(device)
        self._trained = nn.ModuleList([self._network, self._weights, grids])
        horizon = max(1.0, min(_HORIZON, _HORIZON_SHARE * settings.epochs * len(feed)))
        self._average = AveragedModel(self._trained, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / horizon))
        self._teacher, self._feed, self._settings = teacher, feed, settings
        self._precision, self._device = DTYPES[precision], device
        images = next(feed.batches(torch.Generator().manual_seed(0)))[0][:_COMPARED].to(device)
        self._layout = fast_layout(self._network, images)
        replaced = set(self._weights.names)
        others = [parameter for name, parameter in self._network.named_parameters() if name not in replaced]
        weights = self._weights
        scales = [*weights.growths(), *grids.parameters()]
        groups = {1.0: [*others, *weights.shifts()], _LATENT: weights.latent(), _STEPS: scales}
        self._shares = list(groups)
        self._optimizer = torch.optim.Adam([{"params": group} for group in groups.values()])

    def train_epoch(self, epoch: int, on_step: Callable[[float], None] | None = None) -> float:
        """One pass over the training images; the mean loss.

        Args:
            epoch: its number, counted from 1.
            on_step: called with the loss of each step.

        Raises:
            AdrlGymError: the loss is no longer a finite number.
        """
        self._network.train()
        for module in self._network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        seed = 1000 * self._settings.seed + epoch
        generator, losses = torch.Generator().manual_seed(seed), []
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # of dropout
            for step, (images, labels) in enumerate(self._feed.batches(generator)):
                rate = self.learning_rate((epoch - 1) * len(self._feed) + step)
                for group, share in zip(self._optimizer.param_groups, self._shares, strict=True):
                    group["lr"] = rate * share
                loss = self._loss(images, labels)
                if not math.isfinite(value := loss.item()):
                    raise AdrlGymError(
                        f"the loss became {value} in epoch {epoch}: lower learning_rate "
                        f"(it is {self._settings.learning_rate:g}), or check the training images for NaN",
                        parameter="learning_rate",
                    )
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                self._average.update_parameters(self._trained)
                losses.append(value)
                if on_step is not None:
                    on_step(value)
        return sum(losses) / len(losses)

    def learning_rate(self, step: int) -> float:
        """At a step, counted from 0 over all epochs: a short rise, and a cosine (Loshchilov and Hutter 2017)."""
        steps = self._settings.epochs * len(self._feed)
        rise = min(1.0, (step + 1) / max(1, int(_WARM_UP * steps)))
        return self._settings.learning_rate * rise * (1 + math.cos(math.pi * step / steps)) / 2

    @torch.no_grad()
    def network(self) -> QuantizedNetwork:
        """Return the quantized network as it is now, averaged: a copy on the CPU, in evaluation mode."""
        average, weights, _ = cast(nn.ModuleList, self._average.module)
        network = copy.deepcopy(average).requires_grad_(False)
        for name, weight in weights().items():
            network.get_parameter(name).data = weight.contiguous()  # also where another module shares it
        end_training(network)
        return self._start.with_network(network.cpu().eval().to(memory_format=torch.contiguous_format))

    def state_dict(self) -> dict[str, Any]:
        """All that another trainer of the same arguments needs to go on."""
        return {
            "trained": self._trained.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self._trained.load_state_dict(state["trained"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _loss(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the loss of a batch ``(B, C, H, W)`` with labels ``(B,)``; positions without a label do not count."""
        # A copy, since a network may write into what it is given, and the teacher is still to see it.
        x = placed(images.to(self._device, copy=True), self._layout)
        with torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32):
            logits = by_position(functional_call(self._network, dict(self._weights()), (x,)).float())  # (B, P, K)
        counted = torch.ones(logits.shape[:2], dtype=torch.bool)  # (B, P)
        if labels is not None and labels.dim() > 1:
            counted = labels.flatten(1) != IGNORED  # (B, P)
        if not counted.any():
            return 0 * logits.sum()
        logits = logits[counted.to(self._device)]  # (N, K)
        classified = None
        if labels is not None:
            classified = F.cross_entropy(logits, labels.view(counted.shape)[counted].to(self._device))
        if self._teacher is None:
            assert classified is not None
            return classified
        expected = self._taught(images)[counted].to(self._device)  # (N, K)
        distilled = F.kl_div(logits.log_softmax(1), expected, reduction="batchmean")
        return distilled if classified is None else (1 - _LABELS) * distilled + _LABELS * classified

    def _taught(self, images: Tensor) -> Tensor:
        """The teacher's probabilities ``(B, P, K)``; those of an image and its mirror image together err less."""
        assert self._teacher is not None
        views = [images, images.flip(3)] if self._settings.horizontal_flip and images.dim() == 4 else [images]
        of_views = list(self._teacher.logits(ImageSet(torch.cat(views), None)).chunk(len(views)))  # (B, ...) each
        if of_views[0].dim() == 4:  # of pixels, which lie mirrored too
            of_views[1:] = [logits.flip(3) for logits in of_views[1:]]
        elif of_views[0].dim() == 3:  # of parts of an image, in an order of the network's own
            of_views = of_views[:1]
        return torch.stack([by_position(logits).softmax(2) for logits in of_views]).mean(0)  # (B, P, K)
