"""The problems of a family: each network with each quantizer."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adrl_gym.datasets import find_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import load_network
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import tracked

_MEMORY = 64 << 20  # bytes of each problem's activations and weights: there are many


def family_problems(
    networks: Sequence[str],
    quantizers: Sequence[str],
    *,
    weights: Path | None = None,
    data: str = "auto",
    data_root: Path | None = None,
    images: int,
    device: str = "auto",
    test: bool = False,
) -> list[QuantProblem]:
    """Return a problem for each network and quantizer, network after network.

    Args:
        networks: as ``load_network`` takes them; ``FILE.py`` alone is each factory that ``weights`` has a file for.
        quantizers: names.
        weights: folder of the networks' weights, ``FACTORY.safetensors`` each.
        data: as for ``find_splits``.
        data_root: as for ``find_splits``.
        images: how many search images.
        device: that measures.
        test: keep the test images too, which take memory.

    Raises:
        AdrlGymError: networks, weights or images that are not found or do not fit.
    """
    found: list[QuantProblem] = []
    names = [name for given in networks for name in _named(given, weights)]
    for name in tracked(names, "loading", len(names), "networks"):
        loaded = load_network(name, None if weights is None else weights / f"{name.rpartition(':')[2]}.safetensors")
        splits = find_splits(loaded, data, data_root=data_root, images=images)
        splits = splits if test else dataclasses.replace(splits, test=None, train=None)
        settings: dict[str, Any] = {"name": loaded.name, "device": device, "activation_memory": _MEMORY}
        found += [QuantProblem(loaded.network, splits, quantizer=quantizer, **settings) for quantizer in quantizers]
    return found


def _named(given: str, weights: Path | None) -> list[str]:
    """Return the networks that one value of the option names."""
    if not given.endswith(".py"):
        return [given]
    files = [] if weights is None else sorted(weights.glob("*.safetensors"))
    if not files:
        raise AdrlGymError(
            f"network {given} names no function: give FILE.py:FACTORY, or a folder of weights, whose files name them",
            parameter=("networks", "weights"),
        )
    return [f"{given}:{file.stem}" for file in files]
