"""Predictions of a network that is not trained: the teacher's, and those to measure by."""

import torch
from torch import Tensor, nn

from adrl_gym.datasets import Images
from adrl_gym.evaluation import Engine, Precision
from adrl_gym.layers import QuantizedParams, find_layers


class FloatTeacher:
    """A network as the evaluator runs it: batch norm folded, slices of images side by side.

    Args:
        network: in evaluation mode; copied, never changed.
        images: some of those that it is to run on, for their shape.
        device: where it runs.
        precision: of its passes.
    """

    def __init__(
        self, network: nn.Module, images: Images, device: torch.device, precision: Precision = "float32"
    ) -> None:
        first = next(images.batches(1))[0]  # (1, ...)
        layers = find_layers(network, tuple(first.shape[1:]), first.dtype)
        nothing: list[dict[int, QuantizedParams]] = [{} for _ in layers]  # only the network's own weights
        self._engine = Engine(network, layers, nothing, images, [device], precision=precision, activation_memory=0)
        self._as_it_is = (None,) * len(layers)

    def logits(self, images: Images) -> Tensor:
        """Logits ``(N, K)``, float32, on the CPU."""
        return self._engine.logits(images, self._as_it_is)
