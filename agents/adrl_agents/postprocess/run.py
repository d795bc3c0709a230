"""From a run's folder back to its result and its problem: what all commands that go on from a run have in common."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from adrl_agents.options import Options
from adrl_agents.runs import RunFolder, SearchResult
from adrl_agents.search import check_images, make_env
from adrl_gym.bits import BitConfig
from adrl_gym.costs import KINDS, budget_name, limits_of, size_ratio
from adrl_gym.datasets import DATA
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.problem import QuantProblem


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every command that reads the folder of a run."""

    run: tyro.conf.Positional[Path]
    """Folder of a search: it holds result.json."""
    data_root: Path | None = None
    """Folder of the data set that was searched on; without it, $ADRL_GYM_DATA or the default cache."""
    weights: Path | None = None
    """File of the float network's weights, if it is no longer where the search found it."""
    device: str = "auto"
    """Device that quantizes; auto takes CUDA where there is one."""


@dataclass(frozen=True)
class Recorded:
    """Record of a run, read from its folder.

    Attributes:
        folder: its files.
        result: what it found.
        options: those that it was made with, as far as all agents share them; where things lie is as said now.
    """

    folder: RunFolder
    result: SearchResult
    options: Options


@dataclass(frozen=True)
class LoadedRun:
    """A search that is over, and its problem as it was.

    Attributes:
        folder: its files.
        result: what it found.
        problem: same network, checkpoint, images and quantizer, so that weights are quantized as they were then.
        bits: those found, in the order of the problem's layers.
        configuration: the same as the problem takes it, bits of searched activations included.
    """

    folder: RunFolder
    result: SearchResult
    problem: QuantProblem
    bits: BitConfig
    configuration: tuple[int, ...]

    @property
    def accuracy_name(self) -> str:
        """Name of accuracy on the search images: without labels, agreement with the float network."""
        return "agreement with the float network" if self.problem.splits.search.labels is None else "search accuracy"


def load_run(options: RunOptions, problem: QuantProblem | None = None) -> LoadedRun:
    """Read a run's result and make its problem anew.

    Args:
        options: its folder, and where its data lie.
        problem: that of another run on the same network, quantizer and images, to be shared with this one, so that
            a layer is quantized once to each bit-width of both.

    Raises:
        AdrlGymError: no result there, one that contradicts itself or breaks its own budget, another checkpoint,
            bits for other layers, data that are not found.
    """
    read = read_run(options)
    if problem is None:
        problem = problem_of(make_env(read.options)[0])
    check_problem(read, problem)
    names = tuple(layer.name for layer in problem.layers)
    bits = BitConfig(names, read.result.config.for_layers(names))
    return LoadedRun(read.folder, read.result, problem, bits, read.result.configuration(names))


def read_run(options: RunOptions) -> Recorded:
    """Read a run's result and the options that it was made with.

    Raises:
        AdrlGymError: no result there, or one that contradicts itself or breaks its own budget.
    """
    folder = RunFolder(options.run)
    result = SearchResult.load(folder.result)
    recorded = _recorded(result, options, folder)
    _check_budget(result, recorded, folder)
    return Recorded(folder, result, recorded)


def check_problem(read: Recorded, problem: QuantProblem) -> None:
    """Refuse other weights or images than those that were searched with; raises ``AdrlGymError``."""
    if problem.checkpoint != read.result.checkpoint:
        raise AdrlGymError(
            f"{read.folder.path} was searched with other weights of the network (hash {read.result.checkpoint[:12]}, "
            f"here {problem.checkpoint[:12]}): name their file with --weights"
        )
    check_images(read.result, problem, read.folder)


def _recorded(result: SearchResult, options: RunOptions, folder: RunFolder) -> Options:
    """The options that the run was made with, as far as all agents share them; where things lie is said anew."""
    names = {field.name for field in dataclasses.fields(Options)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in result.options.items()
        if name in names
    }
    weights = options.weights or values.get("weights")
    values |= {"data_root": options.data_root, "device": options.device, "weights": weights and Path(weights)}
    if "cost_table" in values:
        values["cost_table"] = Path(values["cost_table"])
    values |= {"cache": "none", "keep": tuple(f"{name}={bits}" for name, bits in values.get("keep", {}).items())}
    if values.get("data", "auto") == "auto" and result.data in DATA:
        values["data"] = result.data  # auto may find other images now
    try:
        recorded = Options(**values)
        recorded.check()
    except TypeError as error:
        raise AdrlGymError(f"the options in {folder.result} cannot be used ({error}): search anew") from error
    return recorded


def _check_budget(result: SearchResult, options: Options, folder: RunFolder) -> None:
    ratios = {**(result.cost_ratios or {}), "size": size_ratio(result.config.bits, result.parameters)}
    for kind, limit in limits_of(options.budget).items():
        if not ratios.get(kind, math.inf) <= limit:
            raise AdrlGymError(
                f"the bits in {folder.result} break its own budget: they make {ratios.get(kind, math.inf):g} of the "
                f"{KINDS[kind]}, and --budget {budget_name(options.budget)} allows less; "
                "take the result of an intact run"
            )
