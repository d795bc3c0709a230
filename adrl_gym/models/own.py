"""One's own network: any of torchvision's or timm's, or what a function of a Python file returns."""

import difflib
import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from torch import nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.checkpoints import Checkpoint
from adrl_gym.models.imagenet import download
from adrl_gym.models.preprocessing import Preprocessing
from adrl_gym.vision import import_torchvision

FORMS = "torchvision:NAME, timm:NAME or FILE.py:FACTORY"

# With its own weights, torchvision makes these two so.
KEYWORDS = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}

_Made = tuple[nn.Module, Preprocessing | None]  # a network, and how its images are made where it cannot say so itself


def make_own(reference: str, given: Checkpoint | None) -> _Made:
    """The network that ``reference`` names, float32, on the CPU.

    Args:
        reference: ``torchvision:NAME``, ``timm:NAME`` or ``FILE.py:FACTORY``.
        given: the weights that it is going to get; ``None``: it comes with those of its library (downloaded
            where they are not in its cache), or with those that the factory gave it.

    Raises:
        AdrlGymError: no such library, network, file or function; weights that cannot be downloaded; a function
            that fails or returns no network.
    """
    library, _, name = reference.partition(":")
    if library == "torchvision":
        network, preset = _torchvision(name, given)
    elif library == "timm":
        network, preset = _timm(name, given), None
    else:
        file, _, factory = reference.rpartition(":")
        if not file.endswith(".py"):
            raise AdrlGymError(f"unknown network {reference!r}: give {FORMS}")
        network, preset = _from_file(Path(file), factory), None
    return network.float().cpu(), preset


def _torchvision(name: str, given: Checkpoint | None) -> _Made:
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known)
    weights = models.get_model_weights(name).DEFAULT
    keywords = KEYWORDS.get(name, {})
    network = _with_outputs(lambda **outputs: models.get_model(name, weights=None, **keywords, **outputs), given)
    if given is None:
        network.load_state_dict(download(weights, name))
    return network, Preprocessing.from_preset(weights.transforms())


def _timm(name: str, given: Checkpoint | None) -> nn.Module:
    timm = _import_timm()
    if not timm.is_model(name.partition(".")[0]) and not name.startswith(("hf-hub:", "hf_hub:")):
        raise _unknown("timm", name, timm.list_models())
    try:
        return _with_outputs(lambda **keywords: timm.create_model(name, pretrained=given is None, **keywords), given)
    except Exception as error:  # what the hub's client raises depends on its version
        raise AdrlGymError(
            f"timm:{name} cannot be made with its weights ({_reason(error)}): fetch them by another way and "
            "name the file",
            parameter="weights",
        ) from error


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except ImportError as error:
        raise AdrlGymError('timm:NAME needs timm: pip install "adrl-gym[timm]"') from error


def _with_outputs(make: Callable[..., nn.Module], given: Checkpoint | None) -> nn.Module:
    """The network with as many outputs as the weights are for: its last parameter has one row for each."""
    network = make()
    if given is None:
        return network
    last, tensor = list(network.named_parameters())[-1]
    state = given.fit(network)
    return network if last not in state or len(state[last]) == len(tensor) else make(num_classes=len(state[last]))


def _from_file(path: Path, factory: str) -> nn.Module:
    if not path.is_file():
        raise AdrlGymError(f"there is no file {path}, so no network {path}:{factory}")
    try:
        network = getattr(_import_file(path), factory)()
    except Exception as error:  # whatever the user's own code raises
        raise AdrlGymError(
            f"{path}:{factory} makes no network ({_reason(error)}): give a function of that file that can be called "
            "without arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise AdrlGymError(f"{path}:{factory} returns {type(network).__name__}: an nn.Module is needed")
    return network


def _import_file(path: Path) -> ModuleType:
    name = f"adrl_gym_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.resolve())
    if folder not in sys.path:  # as for a script: its neighbours can be imported, also later on
        sys.path.append(folder)
    sys.modules[name] = module  # pickle looks classes up there
    spec.loader.exec_module(module)
    return module


def _unknown(library: str, name: str, known: list[str]) -> AdrlGymError:
    near = difflib.get_close_matches(name, known)
    advice = f"; did you mean {' or '.join(near)}?" if near else f"; see {library}'s list of models"
    return AdrlGymError(f"{library} has no network {name!r} for images{advice}")


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
