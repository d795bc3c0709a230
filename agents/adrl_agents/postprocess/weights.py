"""The quantized network of a run: as the search made it, refitted, or finetuned."""

import json
import math
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


class _Measured(NamedTuple):
    """Accuracy in percent (agreement, without labels) and KL divergence on the search images; nan of finetuned ones."""

    accuracy: float
    kl: float


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
            adrl-gym finetune left it in the run's folder; ``auto``, the best of ``among`` on the search images, as
            ``_best`` says. A run that was searched with the recipe ``refit`` needs no file for it.
        among: what ``auto`` chooses from, as far as it is there.

    Raises:
        AdrlGymError: no such file, a damaged one, or one of another run (checkpoint, bits or quantizer).
    """
    if recipe != "auto":
        return Quantized(_network(run, recipe), recipe)
    there: list[Recipe] = [made for made in among if _is_there(run, made)]
    if len(there) == 1:
        return Quantized(_network(run, there[0]), there[0])
    measured = {made: _measured(run, made) for made in there}
    best = _best(measured)
    told = ", ".join(f"{made} {measured[made].accuracy:.2f}" for made in reversed(there))
    nats = ", ".join(f"{made} {measured[made].kl:.4f}" for made in reversed(there) if made != "finetuned")
    return Quantized(_network(run, best), best, f"auto takes the {best} weights: {run.accuracy_name} {told}; KL {nats}")


def _best(measured: dict[Recipe, _Measured]) -> Recipe:
    """Return the finetuned weights unless others have a higher accuracy; of these others those of lower KL divergence.

    Direct and refitted weights both imitate the float network, and their divergence from it is the surer measure.
    Finetuned ones may have learned something else from the labels.
    """
    rest: list[Recipe] = [made for made in measured if made != "finetuned"]  # refit first: it wins a tie
    closest = min(rest, key=lambda made: measured[made].kl)
    if "finetuned" in measured and measured["finetuned"].accuracy >= measured[closest].accuracy:
        return "finetuned"
    return closest


def _is_there(run: LoadedRun, made: Recipe) -> bool:
    return made in ("direct", _OWN[run.problem.calibration]) or recipe_file(run, made).exists()


def _network(run: LoadedRun, made: Recipe) -> QuantizedNetwork:
    if made == "direct":
        return run.problem.quantized(run.configuration, calibration="independent")
    file = recipe_file(run, made)
    if file.exists():
        _check(file, run, _COMMANDS[made])
        return run.problem.quantized_network(run.configuration, load_packed(file, run.problem.network))
    if not _is_there(run, made):
        raise AdrlGymError(f"{run.folder.path} has no {file.name}: make it with {_COMMANDS[made]} {run.folder.path}")
    return run.problem.quantized(run.configuration)


def _measured(run: LoadedRun, made: Recipe) -> _Measured:
    """On the search images: as it was reported, or measured where no report says it.

    All reports are of the same images: those of the search.
    """
    if recipe_file(run, made).exists():
        _check(recipe_file(run, made), run, _COMMANDS[made])
    reported = _reported(run, made)
    if reported is None:
        metrics = run.problem.measure(_network(run, made))
        reported = _Measured(metrics.accuracy, metrics.kl)
    return _Measured(round(reported.accuracy, 6), round(reported.kl, 9))  # as result.json has it, or no ties


def _reported(run: LoadedRun, made: Recipe) -> _Measured | None:
    path = run.folder.path
    try:
        if made == "finetuned":
            report = json.loads((path / "finetune.json").read_text())
            return _Measured(float(report["search_accuracy"]), math.nan)
        if recipe_file(run, "refit").exists():
            report = json.loads((path / "refit.json").read_text())
            return _Measured(float(report["search_accuracy"][made]), float(report["search_kl"][made]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a command that was killed leaves weights without their report
    # The search measured its own recipe, but with --finetune-images after a moment of training.
    finetuned = run.result.options.get("finetune_images", 0) > 0
    if made != _OWN[run.problem.calibration] or finetuned:
        return None
    kl = run.result.search_kl
    return None if kl is None else _Measured(run.result.search_accuracy, kl)


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
