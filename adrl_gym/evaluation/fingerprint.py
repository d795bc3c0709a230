"""Fingerprint of a problem: two problems with the same one have the same answers."""

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adrl_gym.datasets import Images
from adrl_gym.layers import LayerSpec
from adrl_gym.models import content_hash
from adrl_gym.outputs import by_position

FIRST = 50  # images, of which the network's own answers are looked at
_ROWS = 10_000  # predictions of these, where there is one at every position
REVISION = 4  # to be raised whenever quantizers or evaluation give other numbers than before


def fingerprint(
    network: nn.Module,
    layers: Sequence[LayerSpec],
    images: Images,
    *,
    quantizer: str,
    bias_correction: bool,
    precision: str = "float32",
    recipe: str = "direct",
    input_precision: str = "float",
) -> str:
    """Hash of all that a configuration's outcomes depend on; 64 hexadecimal digits.

    The weights, the structure and some answers of the network, its layers, the search images and their labels, the
    quantizer and its correction, the precision, the recipe with its settings, the settings of quantized inputs, and
    the revision of this package's arithmetic. The budget and the device are no part.
    """
    digest = hashlib.sha256()
    what = [REVISION, repr(network), [layer.name for layer in layers], quantizer, bias_correction, precision]
    if recipe != "direct":
        what.append(recipe)
    if input_precision != "float":
        what.append(f"inputs {input_precision}")
    digest.update(json.dumps(what).encode())
    digest.update(content_hash({**dict(network.named_buffers()), **network.state_dict()}).encode())
    digest.update(json.dumps(_answers(network, next(images.batches(FIRST))[0])).encode())
    for batch, labels in images.batches(len(images)):
        parts = {"images": batch, "labels": torch.zeros(0) if labels is None else labels}
        digest.update(content_hash(parts).encode())
    return digest.hexdigest()


def _answers(network: nn.Module, images: Tensor) -> list[object]:
    """Return the network's answer to ``images`` ``(B, ...)``.

    That depends also on what no module tells of itself, as the code of its ``forward``. Coarse, so that devices and
    threads, which round differently, say the same.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = by_position(network(images.to(device, copy=True)).double().cpu()).flatten(0, 1)[:_ROWS]  # (B P, K)
    sizes = logits.std(), logits.amax(1).mean(), logits.logsumexp(1).mean()
    return [logits.argmax(1).tolist(), *(f"{float(size):.2e}" for size in sizes)]
