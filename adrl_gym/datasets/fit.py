"""Checks that a network, images and labels belong together."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from adrl_gym.datasets.finite import check_finite_logits, check_finite_tensors
from adrl_gym.datasets.images import Images
from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import alike
from adrl_gym.layers import lazy_tensors, materialize, prepared
from adrl_gym.outputs import IGNORED, by_position, described_output, label_shape

_LOOKED_AT = 4  # images
_SUM = 2e-3  # that the sum of probabilities of half precision may differ from 1


def prepared_for(network: nn.Module, *splits: Images | None) -> nn.Module:
    """Return a network in evaluation mode, as ``layers.prepared`` does, after ``check_fit`` with each split."""
    network = prepared(network).eval()
    lazy = bool(lazy_tensors(network))
    for images in splits:
        if images is not None:
            check_fit(network, images)
    return prepared(network) if lazy else network


def check_fit(network: nn.Module, images: Images) -> None:
    """Run a few images through the network, twice, and compare the labels with its outputs.

    Args:
        network: in evaluation mode; its lazy modules get their shapes.
        images: a split of which every label, but only the first images are looked at.

    Raises:
        AdrlGymError: no images, images that the network cannot take, outputs that are not ``(B, classes)``,
            a label that is no class of the network, logits that are not finite, or that differ from run to
            run or with the other images of the batch, NaN or infinity in the network.
    """
    name = type(network).__name__
    if len(images) == 0:
        raise AdrlGymError(f"no images for {name}: at least one is needed")
    some = next(images.batches(_LOOKED_AT))[0]  # (B, C, H, W)
    output = _output(network, some[0])
    _check_logits(name, output, images.labels)
    _check_repeatable(network, some, output)
    check_finite_tensors(network, some[:1].to(_device(network), copy=True))
    if images.labels is None:
        return
    classes = by_position(output).shape[2]
    counted = images.labels.dim() == 1 or images.labels != IGNORED
    wrong = (((images.labels < 0) | (images.labels >= classes)) & counted).nonzero()  # (wrong labels, dimensions)
    if len(wrong):
        label = int(images.labels[tuple(wrong[0])])
        ignored = "; give the label that does not count as ignore_index" if images.labels.dim() > 1 else ""
        raise AdrlGymError(
            f"label {label} of image {int(wrong[0, 0])} is out of range: {name} has {classes} "
            f"outputs, so labels go from 0 to {classes - 1}{ignored}"
        )
    if images.labels.dim() > 1 and (images.labels == IGNORED).all():
        raise AdrlGymError("all labels are ignored: at least one is needed to measure on")


def _check_repeatable(network: nn.Module, images: Tensor, first: Tensor) -> None:
    """Refuse a network that is random, or that mixes images; ``first`` ``(1, ...)`` is of the first image alone."""
    with torch.inference_mode():
        once, again = (network(images.to(_device(network), copy=True)) for _ in range(2))  # (B, classes) each
    check_finite_logits(network, once)
    _check_no_probabilities(type(network).__name__, once)
    if not alike(again, once):
        raise AdrlGymError(
            f"{type(network).__name__} gives other logits each time that it sees the same images, although it is in "
            "evaluation mode: write F.dropout(x, training=self.training) for F.dropout(x), freeze observers, and take "
            "random augmentation out of forward"
        )
    if not alike(torch.cat([first, once[1:]]), once):
        raise AdrlGymError(
            f"{type(network).__name__} gives other logits for an image when others are beside it in the batch, "
            "although it is in evaluation mode: let batch norms use running statistics, and attention take "
            "batch_first=True where batches come first"
        )


def _check_no_probabilities(name: str, output: Tensor) -> None:
    """Refuse what has been through a softmax: a second one would make all divergences and losses too small."""
    rows = by_position(output).double()  # (B, P, K)
    if (rows >= 0).all() and bool((rows.sum(2) - 1).abs().max() < _SUM):
        raise AdrlGymError(
            f"{name} returns probabilities: let it return logits, without the softmax, or their logarithms "
            "(output=torch.log in Python)",
            parameter="logits",
        )


def count_outputs(network: nn.Module, image: Tensor) -> int:
    """Return how many classes a network tells apart.

    Args:
        network: in evaluation mode.
        image: ``(C, H, W)``.

    Raises:
        AdrlGymError: it cannot take the image, or returns something else than logits ``(1, classes)``.
    """
    output = _output(network, image)
    _check_logits(type(network).__name__, output, None)
    return output.shape[1]


def _output(network: nn.Module, image: Tensor) -> Any:
    """Return what the network says of one image; raises ``AdrlGymError`` where it cannot take it."""
    name = type(network).__name__
    x = image[None].to(_device(network), copy=True)  # (1, ...); the network may write into it
    try:
        materialize(network, x.clone())
        with torch.inference_mode():
            return network(x)  # (1, classes)
    except AdrlGymError:
        raise
    except Exception as error:  # whatever the network's own code raises; timm asserts image sizes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if not isinstance(error, RuntimeError | ValueError | AssertionError):
            reason = f"{type(error).__name__}: {reason}"
        other = next(
            (p.dtype for p in network.parameters() if p.is_floating_point() and p.dtype != torch.float32), None
        )
        if other is not None:
            raise AdrlGymError(
                f"{name} has weights of {other}, and is searched in torch.float32: call network.float() ({reason})"
            ) from error
        raise AdrlGymError(
            f"images of shape {tuple(image.shape)} do not fit {name}{_first_weight(network)}: {reason}"
        ) from error


def _check_logits(name: str, output: Any, labels: Tensor | None) -> None:
    """Refuse what is no logits of one image, or none that belong to labels ``(N, ...)``."""
    if not isinstance(output, Tensor):
        raise AdrlGymError(
            f"{name} returns {described_output(output)} for one image: say which part of it are the logits, by key, "
            'attribute or index or as a function (output="logits" in Python)',
            parameter="logits",
        )
    if output.dim() == 1 and len(output) > 1:
        raise AdrlGymError(
            f"{name} returns shape {tuple(output.shape)} for a batch of one image, so it has lost the batch: write "
            "flatten(1) for squeeze()"
        )
    if output.dim() < 2 or by_position(output).shape[2] == 1:
        raise AdrlGymError(
            f"{name} has a single output: classes are told apart by one logit each, so let it return two for z, "
            "torch.stack([torch.zeros_like(z), z], 1), whose softmax is z's sigmoid; a regression has no classes"
        )
    there = () if labels is None else tuple(labels.shape[1:])
    if (positions := label_shape(output)) == there:
        return
    if not there:
        raise AdrlGymError(
            f"{name} returns {tuple(output.shape)} for one image: logits (images, classes) are needed, or labels of "
            f"every position (images, {', '.join(map(str, positions))})"
        )
    raise AdrlGymError(
        f"labels of one image have shape {there}, and {name} returns {tuple(output.shape)}: one integer class index an "
        "image is needed, or one for each position of (images, tokens, classes) or (images, classes, height, width)"
    )


def _device(network: nn.Module) -> torch.device:
    return next(chain(network.parameters(), network.buffers()), torch.zeros(0)).device


def _first_weight(network: nn.Module) -> str:
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            return f", whose first weights {name} have shape {tuple(parameter.shape)}"
    return ""
