"""The quantized network of a run: as the search made it, refitted, or finetuned."""

from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn

from adrl_agents.rebuild import Run
from adrl_gym.errors import AdrlGymError
from adrl_gym.export import load_packed, read_packed

Made = Literal["direct", "refit", "finetuned"]
RECIPES: tuple[Made, ...] = ("finetuned", "refit", "direct")  # the best first


class Quantized(NamedTuple):
    """A quantized network, on the CPU, and what made it."""

    network: nn.Module
    recipe: Made


def recipe_file(run: Run, recipe: Made) -> Path:
    """The packed file in the run's folder that holds the network of a recipe other than ``direct``."""
    return run.folder.path / f"{recipe}.safetensors"


def quantized_network(run: Run, recipe: Literal["auto"] | Made = "auto") -> Quantized:
    """The network with the run's bits.

    Args:
        run: a search that is over.
        recipe: ``direct``, every layer quantized by itself; ``refit`` or ``finetuned``, as agents/refit.py and
            agents/finetune.py left it in the run's folder; ``auto``, the best of these that there is.

    Raises:
        AdrlGymError: no such file, a damaged one, or one of another run (checkpoint, bits or quantizer).
    """
    made = recipe if recipe != "auto" else _best(run)
    if made == "direct":
        return Quantized(run.problem.quantized(run.bits.bits, recipe="direct"), made)
    file, command = recipe_file(run, made), f"agents/{'refit' if made == 'refit' else 'finetune'}.py"
    if not file.exists():
        raise AdrlGymError(f"{run.folder.path} has no {file.name}: make it with {command} {run.folder.path}")
    _check(file, run, command)
    return Quantized(load_packed(file, run.problem.network), made)


def _best(run: Run) -> Made:
    return next(made for made in RECIPES if made == "direct" or recipe_file(run, made).exists())


def _check(file: Path, run: Run, command: str) -> None:
    there, problem = read_packed(file), run.problem
    if there.checkpoint != problem.checkpoint:
        differs = f"weights of hash {there.checkpoint[:12]}, not {problem.checkpoint[:12]}"
    elif there.quantizer != problem.quantizer:
        differs = f"the quantizer {there.quantizer}, not {problem.quantizer}"
    elif there.bits.as_dict() != run.bits.as_dict():
        differs = "other bits"
    else:
        return
    raise AdrlGymError(f"{file} is of another run, with {differs}: make it anew with {command} {run.folder.path}")
