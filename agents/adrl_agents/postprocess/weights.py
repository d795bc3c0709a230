"""The quantized network of a run: as the search made it, refitted, or finetuned."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

from adrl_agents.postprocess.run import LoadedRun
from adrl_gym.errors import AdrlGymError
from adrl_gym.export import load_packed, read_packed
from adrl_gym.quantization import Calibration, QuantizedNetwork

Recipe = Literal["direct", "refit", "finetuned"]
RECIPES: tuple[Recipe, ...] = ("finetuned", "refit", "direct")  # the most elaborate first: it wins a tie
_OWN: dict[Calibration, Recipe] = {"independent": "direct", "sequential": "refit"}  # what a search has made itself
_COMMANDS: dict[Recipe, str] = {"refit": "adrl-gym refit", "finetuned": "adrl-gym finetune"}


class Quantized(NamedTuple):
    """A quantized network, on the CPU, what made it, and why ``auto`` took that, if it had a choice."""

    network: QuantizedNetwork
    recipe: Recipe
    why: str = ""


def recipe_file(run: LoadedRun, recipe: Recipe) -> Path:
    """The packed file in the run's folder that holds the network of a recipe other than ``direct``."""
    return run.folder.path / f"{recipe}.safetensors"


def quantized_network(
    run: LoadedRun, recipe: Literal["auto"] | Recipe = "auto", among: tuple[Recipe, ...] = RECIPES
) -> Quantized:
    """The network with the run's bits.

    Args:
        run: a search that is over.
        recipe: ``direct``, every layer quantized by itself; ``refit`` or ``finetuned``, as adrl-gym refit and
            adrl-gym finetune left it in the run's folder; ``auto``, that of ``among`` with the highest accuracy on
            the search images (agreement, without labels). A run that was searched with the recipe ``refit`` needs no
            file for it.
        among: what ``auto`` chooses from, as far as it is there.

    Raises:
        AdrlGymError: no such file, a damaged one, or one of another run (checkpoint, bits or quantizer).
    """
    if recipe != "auto":
        return Quantized(_network(run, recipe), recipe)
    there: list[Recipe] = [made for made in among if _is_there(run, made)]
    if len(there) == 1:
        return Quantized(_network(run, there[0]), there[0])
    accuracies = {made: _accuracy(run, made) for made in there}
    best = max(there, key=accuracies.__getitem__)
    told = ", ".join(f"{made} {accuracies[made]:.2f}" for made in reversed(there))
    return Quantized(_network(run, best), best, f"auto takes the {best} weights: {run.accuracy_name} {told}")


def _is_there(run: LoadedRun, made: Recipe) -> bool:
    return made in ("direct", _OWN[run.problem.calibration]) or recipe_file(run, made).exists()


def _network(run: LoadedRun, made: Recipe) -> QuantizedNetwork:
    if made == "direct":
        return run.problem.quantized(run.bits.bits, calibration="independent")
    file = recipe_file(run, made)
    if file.exists():
        _check(file, run, _COMMANDS[made])
        return run.problem.quantized_network(run.bits.bits, load_packed(file, run.problem.network))
    if not _is_there(run, made):
        raise AdrlGymError(f"{run.folder.path} has no {file.name}: make it with {_COMMANDS[made]} {run.folder.path}")
    return run.problem.quantized(run.bits.bits)


def _accuracy(run: LoadedRun, made: Recipe) -> float:
    """On the search images, in percent: as it was reported, or measured where no report says it.

    All reports are of the same images: those of the search.
    """
    if recipe_file(run, made).exists():
        _check(recipe_file(run, made), run, _COMMANDS[made])
    reported = _reported(run, made)
    accuracy = run.problem.measure(_network(run, made)).accuracy if reported is None else reported
    return round(accuracy, 6)  # as result.json has it, or there would be no ties


def _reported(run: LoadedRun, made: Recipe) -> float | None:
    path = run.folder.path
    try:
        if made == "finetuned":
            return float(json.loads((path / "finetune.json").read_text())["search_accuracy"])
        if recipe_file(run, "refit").exists():
            return float(json.loads((path / "refit.json").read_text())["search_accuracy"][made])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a command that was killed leaves weights without their report
    # The search measured its own recipe, but with --finetune-images after a moment of training.
    finetuned = run.result.options.get("finetune_images", 0) > 0
    return run.result.search_accuracy if made == _OWN[run.problem.calibration] and not finetuned else None


def _check(file: Path, run: LoadedRun, command: str) -> None:
    there, problem = read_packed(file), run.problem
    origin = there.origin
    if origin.checkpoint != problem.checkpoint:
        differs = f"weights of hash {origin.checkpoint[:12]}, not {problem.checkpoint[:12]}"
    elif origin.quantizer != problem.quantizer:
        differs = f"the quantizer {origin.quantizer}, not {problem.quantizer}"
    elif there.bits.as_dict() != run.bits.as_dict():
        differs = "other bits"
    else:
        return
    raise AdrlGymError(f"{file} is of another run, with {differs}: make it anew with {command} {run.folder.path}")
