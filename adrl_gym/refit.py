"""Refit: sequential calibration of one bit configuration, without labels and training."""

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from adrl_gym.datasets import ImageSet, check_fit
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import sample_metrics, whole_logits
from adrl_gym.layers import quantized_copy
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import (
    CALIBRATION_IMAGES,
    POSITIONS,
    LayerwiseParams,
    QuantizedNetwork,
    SequentialQuantizer,
    find_quantizer,
)

__all__ = ["HELD_OUT", "MOST_IMAGES", "RefitChoice", "calibrate", "calibration_size", "choose_weights", "refit"]

MOST_IMAGES = 1024  # by default; 4 times as many as in a search, where each configuration pays for them
HELD_OUT = 4  # one of so many images is held out, at least, to compare refitted with direct weights on
_VALUES = 2**22  # of all images together, by default, but for ``CALIBRATION_IMAGES``: activations must fit in memory


class RefitChoice(NamedTuple):
    """The better of refitted and direct weights, and the comparison behind it.

    Attributes:
        network: with these weights.
        weights: which ones they are.
        held_out: number of images that were compared on, and that neither of those compared had seen.
        refit_kl: mean KL divergence of refitted weights from the float network on these images, in nats.
        direct_kl: the same of direct ones.
    """

    network: QuantizedNetwork
    weights: Literal["refit", "direct"]
    held_out: int
    refit_kl: float
    direct_kl: float


def refit(
    problem: QuantProblem,
    bits: Sequence[int],
    *,
    images: int | Tensor | None = None,
    positions: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> QuantizedNetwork:
    """Return the network calibrated layer after layer, or quantized independently where that is better.

    ``choose_weights`` describes the choice, the arguments and the errors.
    """
    return choose_weights(problem, bits, images=images, positions=positions, seed=seed, progress=progress).network


def choose_weights(
    problem: QuantProblem,
    bits: Sequence[int],
    *,
    images: int | Tensor | None = None,
    positions: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> RefitChoice:
    """Return refitted weights unless direct ones diverge less from the float network on images held out.

    On the images that they are calibrated on, weights look better than they are. So both are tried without the last
    quarter of the images, and compared on that quarter. The KL divergence needs no labels, and it tells apart what
    accuracy on some hundred images cannot. The better ones are then calibrated on all images, since more of them help.
    Search images beyond those of the refit are held out at no cost: where they are enough, one refit is all.

    The same arguments give the same weights, on the same machine and number of threads.

    Args:
        problem: network, quantizer and search images.
        bits: of all layers, fixed ones included.
        images: how many of the search images, the first ones, to refit on (all, if there are fewer); or the images
            themselves, ``(N, C, H, W)`` as the network takes them. By default as many as ``calibration_size`` says.
        positions: inputs sampled for each layer, over all images; likewise.
        seed: of the sampling.
        progress: show a bar.

    Raises:
        AdrlGymError: a single image, images that the network cannot take, and as for ``calibrate``.
    """
    if isinstance(images, Tensor) and len(images):
        check_fit(problem.network, ImageSet(images, None))
    there = images if isinstance(images, Tensor) else problem.splits.search.images  # (N, C, H, W)
    count = len(images) if isinstance(images, Tensor) else calibration_size(problem, images)[0]
    fitted = min(count, len(there) - max(1, count // HELD_OUT))
    if count and not fitted:
        raise AdrlGymError("1 image to refit on and to compare on: at least 2 are needed")
    held_out = there[max(fitted, len(there) - count) :]  # (M, C, H, W)
    refitted = calibrate(problem, bits, there[:fitted], positions=positions, seed=seed, progress=progress)
    refit_kl, direct_kl = _divergences(problem, (refitted, _direct(problem, bits, there[:fitted])), held_out)
    if direct_kl < refit_kl:
        return RefitChoice(problem.quantized(bits, "independent"), "direct", len(held_out), refit_kl, direct_kl)
    if fitted < count:
        refitted = calibrate(problem, bits, there[:count], positions=positions, seed=seed, progress=progress)
    return RefitChoice(refitted, "refit", len(held_out), refit_kl, direct_kl)


def calibrate(
    problem: QuantProblem,
    bits: Sequence[int],
    images: Tensor,
    *,
    positions: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> QuantizedNetwork:
    """Calibrate the network with these bits layer after layer, against what the quantized layers before deliver.

    ``SequentialQuantizer`` explains the method and names the sources.

    Args:
        problem: network and quantizer.
        bits: of all layers, fixed ones included.
        images: ``(N, C, H, W)`` as the network takes them.
        positions: inputs sampled for each layer, over all images; by default as ``calibration_size`` says.
        seed: of the sampling.
        progress: show a bar.

    Returns:
        The same as ``problem.quantized(bits)``, with other weights on the same kind of grid and other biases.

    Raises:
        AdrlGymError: bits that do not fit, no images, a network that torch.fx cannot trace.
    """
    whole = problem.check(bits)
    quantizer = SequentialQuantizer(
        problem.with_inputs(whole),
        problem.layers,
        images,
        quantizer=find_quantizer(problem.quantizer),
        bias_correction=problem.bias_correction,
        positions=_positions(len(images), positions),
        seed=seed,
    )
    params = quantizer.quantize(whole[: len(problem.layers)], progress=progress)
    return problem.quantized_network(whole, quantized_copy(problem.network, problem.layers, params))


def calibration_size(problem: QuantProblem, images: int | None = None, positions: int | None = None) -> tuple[int, int]:
    """Return how many images a refit takes, and how many positions in all; ``None`` is the default.

    By default all search images, but at most ``MOST_IMAGES``, and fewer where they are large, down to 256; at least 32
    positions an image. More images tell more of layers with many inputs (benchmarks/results/refit_ablation.csv).
    """
    if images is None:
        values = problem.splits.search.images[0].numel()
        images = max(CALIBRATION_IMAGES, min(MOST_IMAGES, _VALUES // values))
    count = min(max(0, images), problem.images)
    return count, _positions(count, positions)


def _positions(images: int, positions: int | None) -> int:
    return max(POSITIONS, POSITIONS // CALIBRATION_IMAGES * images) if positions is None else positions


def _direct(problem: QuantProblem, bits: Sequence[int], images: Tensor) -> QuantizedNetwork:
    """Return what ``problem.quantized(bits, "independent")`` would be if these were its search images."""
    whole = problem.check(bits)
    weights = whole[: len(problem.layers)]
    params = LayerwiseParams(
        problem.with_inputs(whole),
        problem.layers,
        images,
        quantizer=find_quantizer(problem.quantizer),
        widths=[(b,) for b in weights],
        bias_correction=problem.bias_correction,
    )
    params.prepare()
    own = [made[b] for made, b in zip(params, weights, strict=True)]
    return problem.quantized_network(whole, quantized_copy(problem.network, problem.layers, own))


def _divergences(problem: QuantProblem, networks: Sequence[QuantizedNetwork], images: Tensor) -> list[float]:
    """Return the mean KL divergence of each network from the float one, in nats, on ``(M, C, H, W)``."""
    device = next(problem.network.parameters()).device
    reference, *others = (
        whole_logits(copy.deepcopy(network).to(device), images.split(problem.slice_size))
        for network in (problem.network, *(quantized.network for quantized in networks))
    )  # (M, K) each
    return [sample_metrics(logits[None], reference, None)[0].metrics().kl for logits in others]
