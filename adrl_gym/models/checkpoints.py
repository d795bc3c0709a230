"""Weights on disk: safetensors files that carry the hash of their content."""

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError

STATISTICS = "statistics."  # prefix of what is stored beside the state dict
SHIPPED = Path(__file__).parent / "weights"


class Checkpoint(NamedTuple):
    """What a weights file holds.

    Attributes:
        state: state dict, floating point as float32.
        statistics: means and variances of activations, ``LAYER.mean`` and ``LAYER.var`` ``(O,)``; empty where
            the network's own batch norms keep them.
        hash: content hash of ``state``.
    """

    state: dict[str, Tensor]
    statistics: dict[str, Tensor]
    hash: str


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
    """Read a ``.safetensors`` file, or a ``.pt`` or ``.pth`` file with a state dict (or its ``state_dict``).

    Raises:
        AdrlGymError: no such file, a file of another kind, a damaged one, NaN or infinity in a tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise AdrlGymError(f"weights file {path} does not exist")
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path, "weights file")
        stored = metadata.get("content_hash")
    elif path.suffix in (".pt", ".pth"):
        tensors, stored = _read_pickle(path), None
    else:
        raise AdrlGymError(f"weights file {path}: give a .safetensors, .pt or .pth file")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AdrlGymError(f"weights file {path} has NaN or infinite values in {name}: use an intact checkpoint")
    if stored is not None and stored != content_hash(tensors):
        raise AdrlGymError(f"weights file {path} does not match the hash stored in it: fetch an intact copy")
    state = {name: _as_used(tensor) for name, tensor in tensors.items() if not name.startswith(STATISTICS)}
    statistics = {
        name.removeprefix(STATISTICS): _as_used(tensor)
        for name, tensor in tensors.items()
        if name.startswith(STATISTICS)
    }
    return Checkpoint(state, statistics, content_hash(state))


def read_safetensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ``kind`` says in the message what it should be.

    Raises:
        AdrlGymError: no such file, or a damaged one.
    """
    if not path.is_file():
        raise AdrlGymError(f"{kind} {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise AdrlGymError(f"{kind} {path} is damaged ({error}): fetch an intact copy") from error


def fill(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put a state dict into a network; ``source`` says in the message where it came from.

    Raises:
        AdrlGymError: the state dict belongs to another network; names the first key that differs.
    """
    kind, own = type(network).__name__, network.state_dict()
    for name, tensor in own.items():
        if name not in state:
            raise AdrlGymError(f"{source} is of another network than {kind}: it lacks {name}")
        if state[name].shape != tensor.shape:
            raise AdrlGymError(
                f"{source} is of another network than {kind}: {name} has shape {tuple(state[name].shape)}, "
                f"not {tuple(tensor.shape)}"
            )
    for name in state:
        if name not in own:
            raise AdrlGymError(f"{source} is of another network than {kind}: it has {name} in addition")
    network.load_state_dict(dict(state))


def _as_used(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor


def _read_pickle(path: Path) -> dict[str, Tensor]:
    advice = "save it with torch.save(network.state_dict(), path) or as safetensors"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise AdrlGymError(
            f"weights file {path} holds more than tensors{f' ({found[1]})' if found else ''}, and loading that could "
            f"run code, so it is refused: {advice}"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise AdrlGymError(f"weights file {path} is damaged: fetch an intact copy, or {advice}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise AdrlGymError(f"weights file {path} holds no state dict: {advice}")
    return content
