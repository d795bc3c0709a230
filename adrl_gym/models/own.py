"""One's own network: any of torchvision's or timm's, or what a function of a Python file returns."""

import difflib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from torch import nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.checkpoints import Checkpoint
from adrl_gym.models.imagenet import download
from adrl_gym.models.preprocessing import Preprocessing
from adrl_gym.models.user_file import network_of_file, short_reason
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
        network, preset = network_of_file(Path(file), factory), None
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
            f"timm:{name} cannot be made with its weights ({short_reason(error)}): fetch them by another way and "
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


def _unknown(library: str, name: str, known: list[str]) -> AdrlGymError:
    near = difflib.get_close_matches(name, known)
    advice = f"; did you mean {' or '.join(near)}?" if near else f"; see {library}'s list of models"
    return AdrlGymError(f"{library} has no network {name!r} for images{advice}")
