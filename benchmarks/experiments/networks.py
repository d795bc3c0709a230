"""Compare quantized predictions of 40 and more networks of torchvision and timm with plain ones.

    python -m benchmarks.experiments.networks

Random weights, so nothing is downloaded; batch norms have seen a few images. For each network: the share of its weights
(of parameters with more than one dimension) that lie in layers that were found, and, on a few images, how the fast
evaluator's logits differ from those of whole passes, in float and for a random configuration of 2 to 8 bits, whose
weights are rounded to evenly spaced levels. A row for each goes to benchmarks/results/networks.csv as it comes; a
second call goes on with what is left.
"""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
import tyro
from torch import Tensor, nn

from adrl_gym.datasets import ImageSet
from adrl_gym.evaluation import Engine, ReferenceEvaluator
from adrl_gym.layers import QuantizedParams, find_layers, own_params, prepared, quantizable, with_linear_attention
from benchmarks.harness.csv_file import add_row, read_rows

_RESULTS = Path(__file__).parents[1] / "results"
# Library -> kind -> names.
TRIED = {
    "torchvision": {
        "convolutional": (
            *("alexnet", "resnet18", "resnet50", "resnext50_32x4d", "densenet121"),
            *("googlenet", "inception_v3", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5"),
            *("shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny"),
        ),
        "transformer": ("vit_b_16", "swin_t", "swin_v2_t"),
        "mixed": ("maxvit_t",),
    },
    "timm": {
        "convolutional": (
            *("resnet26d", "resnetv2_50", "nf_resnet50", "ghostnet_050", "repvgg_a0", "hrnet_w18_small", "tinynet_e"),
            *("rexnet_100", "fbnetc_100"),
        ),
        "transformer": (
            *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224", "pit_ti_224"),
            *("crossvit_tiny_240", "twins_pcpvt_small", "mixer_s32_224", "resmlp_12_224"),
        ),
        "mixed": (
            *("mobilevit_xxs", "mobilevitv2_050", "edgenext_xx_small", "coat_lite_tiny", "levit_128s"),
            *("efficientformer_l1", "poolformer_s12"),
        ),
    },
}
_IMAGES = 4
_SIZES = {"inception_v3": 299, "swin_v2_t": 256}  # torchvision's that take other sizes than 224


@dataclass
class Options:
    """Options of the comparison."""

    only: tuple[str, ...] = ()
    """Networks, as torchvision:resnet18; without it, all."""
    results: Path = _RESULTS
    """Folder of networks.csv."""


def tried_networks() -> dict[str, str]:
    """Return every network's name and kind."""
    return {
        f"{library}:{name}": kind for library, kinds in TRIED.items() for kind, here in kinds.items() for name in here
    }


def make(reference: str) -> tuple[nn.Module, Tensor]:
    """Return a network with random weights, in evaluation mode, and smooth random images ``(N, 3, H, W)``."""
    library, _, name = reference.partition(":")
    torch.manual_seed(0)
    if library == "torchvision":
        plain = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        network, size = torchvision.models.get_model(name, weights=None, **plain), _SIZES.get(name, 224)
    else:
        network = timm.create_model(name, pretrained=False)
        config: Any = network.pretrained_cfg
        size = config["input_size"][-1]
    coarse = torch.randn(_IMAGES, 3, 8, 8)
    images = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")  # (N, 3, H, W)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.02)  # a head of zeros would say nothing
        for module in network.modules():
            module.train(isinstance(module, nn.BatchNorm2d))
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the images' own statistics
        network(images.clone())
    return network.eval(), images


def compare_network(reference: str, kind: str) -> dict[str, Any]:
    """Compare one network; return its columns."""
    start = time.monotonic()
    network, x = make(reference)
    with torch.inference_mode():
        plain = network(x.clone())  # (N, K)
    network = with_linear_attention(prepared(network))
    layers, images = find_layers(network, tuple(x.shape[1:])), ImageSet(x, None)
    draw = np.random.default_rng(0)
    bits = [int(b) for b in draw.integers(2, 9, len(layers))]
    own = [own_params(quantizable(network, layer)) for layer in layers]
    params = [{b: _rounded(weights, b)} for weights, b in zip(own, bits, strict=True)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = Engine(network, layers, params, images, [torch.device("cpu")])
        fast = engine.search_logits([(None,) * len(layers), tuple(bits)])  # (2, N, K)
    expected = ReferenceEvaluator(network, layers, params).logits(images, bits)  # (N, K)
    known = {id(quantizable(network, layer).weight) for layer in layers}
    matrices = {name: parameter for name, parameter in network.named_parameters() if parameter.dim() > 1}
    left = {name: parameter.numel() for name, parameter in matrices.items() if id(parameter) not in known}
    weights = sum(parameter.numel() for parameter in matrices.values())
    return {
        "network": reference,
        "kind": kind,
        "layers": len(layers),
        "weights": weights,
        "share": f"{1 - sum(left.values()) / weights:.5f}",
        "left": " ".join(sorted(left, key=lambda name: -left[name])[:3]),
        "in_parts": not any("cannot partition" in str(warning.message) for warning in caught),
        "float_difference": _difference(fast[0], plain),
        "quantized_difference": _difference(fast[1], expected),
        "different": int((fast[1].argmax(1) != expected.argmax(1)).sum()),
        "images": len(x),
        "seconds": f"{time.monotonic() - start:.1f}",
        "torch": torch.__version__,
    }


def _rounded(params: QuantizedParams, bits: int) -> QuantizedParams:
    """Round a weight to the nearest of evenly spaced levels; what is compared does not depend on how well."""
    weight = params.weight.detach()
    scale = weight.abs().max() / (2 ** (bits - 1) - 1)
    return QuantizedParams((weight / scale).round() * scale, params.bias)


def _difference(logits: Tensor, expected: Tensor) -> str:
    """Return the largest difference of a logit, as a share of the largest logit."""
    return f"{float((logits - expected).abs().max() / expected.abs().max()):.1e}"


def main(options: Options) -> None:
    file = options.results / "networks.csv"
    known = {row["network"] for row in read_rows(file)}
    for reference, kind in tried_networks().items():
        if reference not in known and reference in (options.only or tried_networks()):
            found = compare_network(reference, kind)
            add_row(file, found)
            print(", ".join(f"{name} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
