"""Do these images and labels belong to this network?"""

from itertools import chain

import torch
from torch import Tensor, nn

from adrl_gym.datasets.images import Images
from adrl_gym.errors import AdrlGymError


def check_fit(network: nn.Module, images: Images) -> None:
    """Run one image through the network and compare the labels with its outputs.

    Args:
        network: in evaluation mode.
        images: a split of which every label, but only the first image is looked at.

    Raises:
        AdrlGymError: no images, images that the network cannot take, outputs that are not ``(B, classes)``,
            a label that is no class of the network.
    """
    name = type(network).__name__
    if len(images) == 0:
        raise AdrlGymError(f"no images for {name}: at least one is needed")
    classes = count_outputs(network, next(images.batches(1))[0][0])
    if images.labels is None:
        return
    wrong = ((images.labels < 0) | (images.labels >= classes)).nonzero()  # (wrong labels, 1)
    if len(wrong):
        index = int(wrong[0])
        raise AdrlGymError(
            f"label {int(images.labels[index])} of image {index} is out of range: {name} has {classes} "
            f"outputs, so labels go from 0 to {classes - 1}"
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
    if not isinstance(output, Tensor) or output.dim() != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise AdrlGymError(f"{name} returns {shape} for one image: logits (images, classes) are needed")
    return output.shape[1]


def _first_weight(network: nn.Module) -> str:
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            return f", whose first weights {name} have shape {tuple(parameter.shape)}"
    return ""
