"""Weights files as people have them, told apart by what is in them; nothing in them is ever run."""

import argparse
import contextlib
import itertools
import pickle
import re
import warnings
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adrl_gym.errors import AdrlGymError

_HEAD = 512  # bytes that tell one kind of file from another
_SAVE = "save it with torch.save(network.state_dict(), path) or as safetensors"
_GIVE = "give a safetensors file, or one that torch.save wrote"
# Beginning of a file -> what it is, and what to do.
_OTHERS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself: fetch it with git lfs pull",
    b"<": "is a web page, not the file behind its link: download that one",
    b"{": f"is JSON, perhaps an index of several files: {_GIVE}",
    b"\x89HDF": f"is an HDF5 file, as Keras writes them: {_GIVE}",
    b"\x1f\x8b": "is compressed with gzip: unpack it",
}
_TAR = b"ustar", 257  # what stands in a tar archive, and where
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"


def read_weights(path: Path) -> tuple[Any, str | None]:
    """Return what a weights file holds, and the content hash stored in it, if there is one.

    Args:
        path: safetensors, or what ``torch.save`` wrote; its suffix does not matter.

    Raises:
        AdrlGymError: no such file, one of another kind, a damaged one, or one that could run code.
    """
    if path.is_dir():
        raise AdrlGymError(f"weights file {path} is a folder: name the file in it", parameter="weights")
    if not path.is_file():
        raise AdrlGymError(f"weights file {path} does not exist", parameter="weights")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[8:9] == b"{":  # behind the header's length
        tensors, metadata = read_safetensors(path, "weights file")
        return tensors, metadata.get("content_hash")
    if head.startswith(_ZIP):
        _check_archive(path)
    elif not head.startswith(_PICKLE):
        raise AdrlGymError(f"weights file {path} {_described(head)}", parameter="weights")
    return _read_pickle(path), None


def read_safetensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of a safetensors file; ``kind`` says in the message what it should be.

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


def _described(head: bytes) -> str:
    if not head:
        return "is empty: fetch an intact copy"
    text, position = _TAR
    if head[position:].startswith(text):
        return "is a tar archive: unpack it and name the file in it"
    beginning = head.lstrip()
    return next(
        (told for begin, told in _OTHERS.items() if beginning.startswith(begin)), f"is of no known kind: {_GIVE}"
    )


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise _damaged(path) from error
    if "constants.pkl" in names:
        raise AdrlGymError(f"weights file {path} is a TorchScript program, which could run code: {_SAVE}")
    if "data.pkl" not in names:
        raise AdrlGymError(f"weights file {path} is a zip archive that torch.save did not write: {_GIVE}")


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), _allowed():
            warnings.simplefilter("ignore")  # of unusual pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise AdrlGymError(
            f"weights file {path} holds more than tensors{f' ({found[1]})' if found else ''}, and loading that could "
            f"run code, so it is refused: {_SAVE}"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, IndexError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> AdrlGymError:
    return AdrlGymError(f"weights file {path} is damaged: fetch an intact copy, or {_SAVE}")


def _allowed() -> contextlib.AbstractContextManager[Any]:
    """Let numbers of NumPy, parsed arguments and paths be read, which stand beside weights and cannot run code."""
    if [int(part) for part in torch.__version__.split(".")[:2]] < [2, 6]:
        return contextlib.nullcontext()
    scalar: Any = np.float64(0).__reduce__()[0]  # the function that pickles name
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    named = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    for kind in (PurePosixPath, PureWindowsPath):  # which reach no file; also for paths of another system
        for module, prefix in itertools.product(("pathlib", "pathlib._local"), ("", "Pure")):
            named.append((kind, f"{module}.{prefix}{kind.__name__.removeprefix('Pure')}"))
    return torch.serialization.safe_globals([argparse.Namespace, np.dtype, *kinds, *named])
