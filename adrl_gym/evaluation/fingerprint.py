"""What makes two problems the same."""

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import nn

from adrl_gym.data.images import Images
from adrl_gym.layers import LayerSpec
from adrl_gym.networks.checkpoints import content_hash

REVISION = 1  # to be raised whenever quantizers or evaluation give other numbers than before


def fingerprint(
    network: nn.Module,
    layers: Sequence[LayerSpec],
    images: Images,
    *,
    quantizer: str,
    bias_correction: bool,
    precision: str = "float32",
    recipe: str = "direct",
) -> str:
    """Hash of all that a configuration's outcomes depend on; 64 hexadecimal digits.

    The weights and the structure of the network, its layers, the search images and their labels, the quantizer and its
    correction, the precision, the recipe with its settings, and the revision of this package's arithmetic. The budget
    and the device are no part.
    """
    digest = hashlib.sha256()
    what = [REVISION, repr(network), [layer.name for layer in layers], quantizer, bias_correction, precision]
    if recipe != "direct":
        what.append(recipe)
    digest.update(json.dumps(what).encode())
    digest.update(content_hash(network.state_dict()).encode())
    for batch, labels in images.batches(len(images)):
        parts = {"images": batch, "labels": torch.zeros(0) if labels is None else labels}
        digest.update(content_hash(parts).encode())
    return digest.hexdigest()
