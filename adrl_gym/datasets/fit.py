"""Checks that a network, images and labels belong together."""

from itertools import chain

import torch
from torch import Tensor, nn

from adrl_gym.datasets.images import Images
from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import alike

_LOOKED_AT = 4  # images


def check_fit(network: nn.Module, images: Images) -> None:
    """Run a few images through the network, twice, and compare the labels with its outputs.

    Args:
        network: in evaluation mode.
        images: a split of which every label, but only the first images are looked at.

    Raises:
        AdrlGymError: no images, images that the network cannot take, outputs that are not ``(B, classes)``,
            a label that is no class of the network, logits that are not finite or differ from run to run.
    """
    name = type(network).__name__
    if len(images) == 0:
        raise AdrlGymError(f"no images for {name}: at least one is needed")
    some = next(images.batches(_LOOKED_AT))[0]  # (B, C, H, W)
    classes = count_outputs(network, some[0])
    _check_repeatable(network, some)
    if images.labels is None:
        return
    wrong = ((images.labels < 0) | (images.labels >= classes)).nonzero()  # (wrong labels, 1)
    if len(wrong):
        index = int(wrong[0])
        raise AdrlGymError(
            f"label {int(images.labels[index])} of image {index} is out of range: {name} has {classes} "
            f"outputs, so labels go from 0 to {classes - 1}"
        )


def check_finite_logits(network: nn.Module, logits: Tensor, first: int = 0) -> None:
    """Refuse logits ``(B, K)`` of the float network that are not finite.

    Args:
        network: that gave them.
        logits: of images in a row.
        first: index of the first of these images.

    Raises:
        AdrlGymError: names the first bad parameter or buffer, or else the first such image.
    """
    if logits.isfinite().all():
        return
    name = type(network).__name__
    for tensor_name, tensor in chain(network.named_parameters(), network.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise AdrlGymError(
                f"{name} gives NaN or infinite logits, and its {tensor_name} holds NaN or infinity: "
                "take an intact checkpoint",
                parameter="weights",
            )
    index = first + int((~logits.isfinite()).any(1).nonzero()[0])
    raise AdrlGymError(
        f"{name} gives NaN or infinite logits for image {index}: check how that image is prepared, and whether the "
        "network overflows"
    )


def _check_repeatable(network: nn.Module, images: Tensor) -> None:
    tensor = next(chain(network.parameters(), network.buffers()), torch.zeros(0))
    with torch.inference_mode():
        once, again = (network(images.to(tensor.device, copy=True)) for _ in range(2))  # (B, classes) each
    check_finite_logits(network, once)
    if not alike(again, once):
        raise AdrlGymError(
            f"{type(network).__name__} gives other logits each time that it sees the same images, although it is in "
            "evaluation mode: write F.dropout(x, training=self.training) for F.dropout(x), freeze observers, and take "
            "random augmentation out of forward"
        )


def count_outputs(network: nn.Module, image: Tensor) -> int:
    """How many classes a network tells apart.

    Args:
        network: in evaluation mode.
        image: ``(C, H, W)``.

    Raises:
        AdrlGymError: it cannot take the image, or returns something else than logits ``(1, classes)``.
    """
    name = type(network).__name__
    tensor = next(chain(network.parameters(), network.buffers()), torch.zeros(0))
    try:
        with torch.inference_mode():
            output = network(image[None].to(tensor.device, copy=True))  # (1, classes); it may write into its input
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:  # timm asserts image sizes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AdrlGymError(
            f"images of shape {tuple(image.shape)} do not fit {name}{_first_weight(network)}: {reason}"
        ) from error
    if isinstance(output, Tensor) and (output.shape[1:] == (1,) or output.dim() < 2):
        raise AdrlGymError(
            f"{name} has a single output: classes are told apart by one logit each, so let it return two for z, "
            "torch.stack([torch.zeros_like(z), z], 1), whose softmax is z's sigmoid; a regression has no classes"
        )
    if not isinstance(output, Tensor) or output.dim() != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise AdrlGymError(f"{name} returns {shape} for one image: logits (images, classes) are needed")
    return output.shape[1]


def _first_weight(network: nn.Module) -> str:
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            return f", whose first weights {name} have shape {tuple(parameter.shape)}"
    return ""
