"""Refit: sequential calibration of one bit configuration, without labels and training."""

from collections.abc import Sequence

from torch import Tensor

from adrl_gym.layers import quantized_copy
from adrl_gym.problem import QuantProblem
from adrl_gym.quantization import (
    CALIBRATION_IMAGES,
    POSITIONS,
    QuantizedNetwork,
    SequentialQuantizer,
    find_quantizer,
)

__all__ = ["MOST_IMAGES", "calibrate", "calibration_size", "refit"]

MOST_IMAGES = 1024  # by default; 4 times as many as in a search, where each configuration pays for them
_VALUES = 2**22  # of all images together, by default, but for ``CALIBRATION_IMAGES``: activations must fit in memory


def refit(
    problem: QuantProblem,
    bits: Sequence[int],
    *,
    images: int | Tensor | None = None,
    positions: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> QuantizedNetwork:
    """Return the better of the network calibrated layer after layer and the one quantized independently.

    Better is the lower KL divergence from the float network on all search images: it needs no labels, and it tells
    apart what accuracy on some hundred images cannot. So refitting is never worse than quantizing independently.
    The same arguments give the same weights, on the same machine and number of threads.

    Args, Returns, Raises: as for ``calibrate``.
    """
    refitted = calibrate(problem, bits, images=images, positions=positions, seed=seed, progress=progress)
    direct = problem.quantized(bits, "independent")
    return min((refitted, direct), key=lambda network: problem.measure(network).kl)


def calibrate(
    problem: QuantProblem,
    bits: Sequence[int],
    *,
    images: int | Tensor | None = None,
    positions: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> QuantizedNetwork:
    """Calibrate the network with these bits layer after layer, against what the quantized layers before deliver.

    ``SequentialQuantizer`` explains the method and names the sources.

    Args:
        problem: network, quantizer and search images.
        bits: of all layers, fixed ones included.
        images: how many of the search images, the first ones, to refit on (all, if there are fewer); or the images
            themselves, ``(N, C, H, W)`` as the network takes them. By default as many as ``calibration_size`` says.
        positions: inputs sampled for each layer, over all images; likewise.
        seed: of the sampling.
        progress: show a bar.

    Returns:
        The same as ``problem.quantized(bits)``, with other weights on the same kind of grid and other biases.

    Raises:
        AdrlGymError: bits that do not fit, no images, a network that torch.fx cannot trace.
    """
    whole = problem.check(bits)
    if isinstance(images, Tensor):
        chosen, positions = images, _positions(len(images), positions)
    else:
        count, positions = calibration_size(problem, images, positions)
        chosen = problem.splits.search.images[:count]
    quantizer = SequentialQuantizer(
        problem.with_inputs(whole),
        problem.layers,
        chosen,
        quantizer=find_quantizer(problem.quantizer),
        bias_correction=problem.bias_correction,
        positions=positions,
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
