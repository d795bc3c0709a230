"""Weights on disk, and the hash of their content."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.state_dicts import fill, find_state_dicts, fit
from adrl_gym.models.weight_files import read_weights

STATISTICS = "statistics."  # prefix of what is stored beside the state dict
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Checkpoint:
    """Weights and statistics in a file.

    Attributes:
        states: state dicts by their place in the file, floating point as float32; ``""`` is the whole file.
        statistics: means and variances of activations, ``LAYER.mean`` and ``LAYER.var`` ``(O,)``; empty where
            the network's own batch norms keep them.
        source: the file, for messages.
    """

    states: dict[str, dict[str, Tensor]]
    statistics: dict[str, Tensor]
    source: str

    @property
    def state(self) -> dict[str, Tensor]:
        """The state dict with the most tensors."""
        return max(self.states.values(), key=len)

    @property
    def hash(self) -> str:
        """Content hash of ``state``."""
        return content_hash(self.state)

    def fit(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the state dict that fits the network best, under its own names."""
        return fit(self.states, network, self.source)

    def fill(self, network: nn.Module) -> None:
        """Put it into a network; raises ``AdrlGymError`` where it does not fit, or holds NaN or infinity."""
        state = self.fit(network)
        for name, tensor in state.items():
            _check_finite(name, tensor, self.source)
        fill(network, state, self.source)


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over sorted names, dtypes, shapes and bytes, as 64 hexadecimal digits.

    Floating-point tensors count as float32, which is what the networks compute with; so a checkpoint
    has one hash, whether it is stored in half or in full precision.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = _as_used(tensors[name]).contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, state: Mapping[str, Tensor], statistics: Mapping[str, Tensor] | None = None) -> str:
    """Write tensors as they are, with their content hash; returns the hash that ``load_checkpoint`` gives."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    tensors |= {STATISTICS + name: tensor.contiguous() for name, tensor in (statistics or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"content_hash": content_hash(tensors)})
    return load_checkpoint(path).hash


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a file of weights: safetensors, or what ``torch.save`` wrote, whatever its suffix.

    A state dict may lie in mappings (``state_dict``, ``model``, ``ema``), with other things beside it.

    Raises:
        AdrlGymError: no such file, a file of another kind, a damaged one, NaN or infinity in its only state dict.
    """
    path = Path(path)
    source = f"weights file {path}"
    content, stored = read_weights(path)
    found = find_state_dicts(content)
    if not found:
        raise AdrlGymError(
            f"{source} holds no state dict: save it with torch.save(network.state_dict(), path) or as safetensors",
            parameter="weights",
        )
    if stored is not None and stored != content_hash(found[""]):
        raise AdrlGymError(f"{source} does not match the hash stored in it: fetch an intact copy")
    whole = found.get("", {})
    statistics = {
        name.removeprefix(STATISTICS): _as_used(t) for name, t in whole.items() if name.startswith(STATISTICS)
    }
    states = {
        place: {name: _as_used(tensor) for name, tensor in state.items() if not name.startswith(STATISTICS)}
        for place, state in found.items()
    }
    if len(states) == 1:
        for name, tensor in next(iter(states.values())).items():
            _check_finite(name, tensor, source)
    return Checkpoint(states, statistics, source)


def _odd(tensor: Tensor) -> str:
    """Return what a tensor is that no network's weights are, or nothing."""
    kinds = {
        "without numbers (on the device meta)": tensor.is_meta,
        "quantized": tensor.is_quantized,
        "sparse": tensor.layout != torch.strided,
        "complex": tensor.is_complex(),
    }
    return next((kind for kind, holds in kinds.items() if holds), "")


def _check_finite(name: str, tensor: Tensor, source: str) -> None:
    if kind := _odd(tensor):
        raise AdrlGymError(
            f"{source} has {name}, which is {kind}: save the weights of the float network", parameter="weights"
        )
    if not torch.isfinite(tensor).all():
        raise AdrlGymError(
            f"{source} has NaN or infinite values in {name}: use an intact checkpoint", parameter="weights"
        )


def _as_used(tensor: Tensor) -> Tensor:
    if _odd(tensor):
        return tensor
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor
