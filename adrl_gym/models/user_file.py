"""A user's Python file, run as a script of its own would be, and the network that one of its functions returns."""

import contextlib
import difflib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from adrl_gym.errors import AdrlGymError

_FOLDERS: set[Path] = set()  # of the files that were run


def network_of_file(path: Path, factory: str) -> nn.Module:
    """Return what a function of a file, called without arguments, returns; or the network that has this name.

    The file sees its own folder first on ``sys.path`` and as its package, and itself alone in ``sys.argv``.

    Raises:
        AdrlGymError: no such file or function, or one that fails, exits, or returns no network.
    """
    if not path.is_file():
        raise AdrlGymError(f"there is no file {path}, so no network {path}:{factory}", parameter="network")
    reference = f"{path}:{factory}"
    try:
        with _as_script(path):
            module = _run(path)
            made = getattr(module, factory, None)
            if made is not None and not isinstance(made, nn.Module):
                made = made()
    except SystemExit as error:
        raise AdrlGymError(
            f"{path} exits (status {error.code}) instead of giving a network: put what makes it a program, as reading "
            'its arguments, below if __name__ == "__main__"',
            parameter="network",
        ) from error
    except Exception as error:  # whatever the user's own code raises
        raise AdrlGymError(
            f"{reference} makes no network ({short_reason(error)}): give a function of that file that can be called "
            "without arguments"
        ) from error
    if made is None and not hasattr(module, factory):
        near = difflib.get_close_matches(factory, [name for name in vars(module) if not name.startswith("_")])
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise AdrlGymError(
            f"{reference} makes no network, as the file has no {factory}: {meant}give a function of it that can be "
            "called without arguments",
            parameter="network",
        )
    if not isinstance(made, nn.Module):
        raise AdrlGymError(f"{reference} returns {type(made).__name__}: an nn.Module is needed")
    return made


def short_reason(error: Exception) -> str:
    """Return the kind of an error and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _as_script(path: Path) -> Iterator[None]:
    """Give the file the surroundings of a script; its folder stays on the path, for what it imports later on.

    What it sets for all of its process (current folder, default precision and device, gradients) is set back.
    """
    folder = path.parent.resolve()
    _forget_namesakes(folder)
    _FOLDERS.add(folder)
    while str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    arguments, where, dtype = sys.argv, Path.cwd(), torch.get_default_dtype()
    device, gradients = torch.get_default_device(), torch.is_grad_enabled()
    sys.argv = [str(path)]
    try:
        yield
    finally:
        sys.argv = arguments
        os.chdir(where)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(None)


def _forget_namesakes(folder: Path) -> None:
    """Let neighbours be imported anew that have the name of a neighbour of a file in another folder, run before."""
    others = {str(other) for other in _FOLDERS - {folder}}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        there = folder / top
        if not (there.is_dir() or there.with_suffix(".py").is_file()):
            continue
        file = getattr(sys.modules.get(top, module), "__file__", None)
        if file is not None and {str(Path(file).parent), str(Path(file).parent.parent)} & others:
            del sys.modules[name]


def _run(path: Path) -> ModuleType:
    package = _package(path.parent.resolve())
    name = f"{package}.{path.stem.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle looks classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(folder: Path) -> str:
    """Return the name of a package that stands for a folder, so that ``from .neighbour import ...`` finds it."""
    name = f"adrl_gym_own_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name
