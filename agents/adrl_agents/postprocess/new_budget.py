"""Another budget for a finished run, without a new search: from its cache, its configurations and its agent."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro

from adrl_agents.baselines import Proposals, neighbours
from adrl_agents.options import BudgetOption, Options, SearchOptions, Switch, cache_beside
from adrl_agents.postprocess.run import Recorded, RunOptions, check_problem, read_run
from adrl_agents.postprocess.trained import decide, load_trained
from adrl_agents.registry import AGENTS
from adrl_agents.runs import Episode, RunFolder, SearchResult, rank
from adrl_agents.search import run_search
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.problem import QuantProblem
from adrl_gym.sensitivity import SensitivityTable, sensitivity_tables


@dataclass(frozen=True, kw_only=True)
class NewBudgetOptions(RunOptions):
    """Options of an answer from a run; all others are that run's own."""

    run: tyro.conf.Positional[Path]
    """Folder of a run of any agent or method; its agent.zip, where there is one, is loaded as --resume does."""
    budget: BudgetOption
    """Largest size of the weights over their size in 32 bits, or KIND=SHARE ..., in place of the run's."""
    cost_table: Path | None = None
    """CSV file of what each layer takes on your hardware, in place of the run's."""
    episodes: int = 12
    """Bit configurations to measure at most, the most promising ones."""
    cache: str | None = None
    """File of what was measured before, or none; without it, cache.sqlite beside the run."""
    output: Path | None = None
    """Folder of the answer, an ordinary run; without it, <env>-from-<agent>-<budget>-s<seed> beside the run."""
    resume: Switch = False
    """Go on where an earlier answer of the same options stopped."""


@dataclass(frozen=True, kw_only=True)
class _Options(Options):
    """The run's options with the new budget."""

    source: Path
    """The run."""
    profile_images: int | None
    """Images of the run's sensitivity table, if it has made one."""

    def recorded(self) -> dict[str, Any]:
        """Return the options of all agents, and whose answer it is."""
        values = super().recorded()
        return {**values, "from": values.pop("source")}


def answer(options: NewBudgetOptions) -> SearchResult:
    """Write the run folder of the new budget, print the best configuration, and what had to be evaluated for it.

    Raises:
        AdrlGymError: no such run, other weights, an impossible budget, a folder of another run, a damaged file.
    """
    read = read_run(options)
    agent = f"from-{read.result.agent.removeprefix('from-')}"
    asked: list[tuple[QuantProblem, int]] = []  # and the cache misses before the first configuration

    def proposals(env: gym.Env[Any, Any]) -> Proposals:
        problem = problem_of(env)
        check_problem(read, problem)
        configurations = candidates(read, wanted.profile_images, env)[: wanted.episodes]
        asked.append((problem, problem.memo_misses))
        for bits in configurations:
            yield [bits[index] for index in problem.searchable]

    wanted = _wanted(options, read, agent)
    found = run_search(agent, wanted, proposals)
    for problem, before in asked:
        print(told(found.episodes, problem.memo_misses - before, before, problem.evaluations))
    return found


def told(configurations: int, evaluated: int, others: int, evaluations: float) -> str:
    """One line on what the answer took.

    Args:
        configurations: that were measured, or looked up.
        evaluated: those that were not known.
        others: questions of the sensitivity table and of the agent that were not known either.
        evaluations: passes over all search images for all of that.

    >>> told(12, 3, 0, 2.6)
    '9 of 12 configurations were known; evaluated 3 (2.6 evaluations)'
    """
    known = f"{configurations - evaluated} of {configurations} configurations were known"
    choosing = f", and {others} partly quantized ones to choose them by" if others else ""
    return f"{known}; evaluated {evaluated}{choosing} ({evaluations:.1f} evaluations)"


def candidates(read: Recorded, profile_images: int | None, env: gym.Env[Any, Any]) -> list[tuple[int, ...]]:
    """Configurations of all layers within the budget, each once; what the cache knows has no say in it.

    First the run's best, projected; the best that it tried within the new budget; integer programming on its
    sensitivity table; its trained agent's own. Then by that table: all that the run tried, projected, and the
    neighbours of integer programming's.

    Args:
        read: the run.
        profile_images: images of its sensitivity table of KL divergence, made as in the run; without one, it is of
            the weights' relative error, which takes no image.
        env: of the new budget.
    """
    problem = problem_of(env)
    free = list(problem.searchable)
    names = tuple(layer.name for layer in problem.layers)
    tried = _tried(read.folder, problem)
    if profile_images is None:
        table = SensitivityTable.of(problem, problem.distances[free])
    else:
        made = read.result.options.get("sensitivity", "measured")
        table = sensitivity_tables(problem, made, "kl", profile_images).alone()
    solved = table.solve()

    def cost(bits: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        return table.cost(table.columns([bits[index] for index in free])), bits

    def sure() -> Iterator[tuple[int, ...]]:
        yield problem.project(read.result.configuration(names))
        fitting = [bits for bits in tried if problem.fits(bits)]
        yield from sorted(fitting, key=lambda bits: rank(tried[bits]))[:1]
        yield problem.with_fixed(solved)
        agent = load_trained(read.folder.agent, read.result.agent, env)
        if agent is not None:
            yield problem.project(problem.with_fixed(decide(agent, env)))

    projected = {problem.project(bits) for bits in tried}
    around = {problem.with_fixed(table.bits(columns)) for columns in neighbours(table, table.columns(solved))}
    return list(dict.fromkeys([*sure(), *sorted(projected | around, key=cost)]))


def _tried(folder: RunFolder, problem: QuantProblem) -> dict[tuple[int, ...], Episode]:
    """Configurations of the run's history, as they were measured."""

    def read(episode: Episode) -> tuple[int, ...]:
        try:
            bits = [int(b) for b in episode.bits.split()]
            return problem.check(bits)
        except (ValueError, AdrlGymError) as error:
            raise AdrlGymError(
                f"cannot read the history {folder.history}: episode {episode.episode}: {error}"
            ) from error

    return {read(episode): episode for episode in folder.load_whole_history()}


def _wanted(options: NewBudgetOptions, read: Recorded, agent: str) -> _Options:
    given = read.result.options
    measured = given.get("indicator", "profiling") == "profiling" and given.get("k") != 1
    table = read.result.agent.startswith("from-") or (
        read.result.agent in AGENTS and AGENTS[read.result.agent].measures_table and measured
    )
    values = {field.name: getattr(read.options, field.name) for field in dataclasses.fields(Options)}
    wanted = _Options(
        **{
            **values,
            "budget": options.budget,
            "cost_table": options.cost_table or read.options.cost_table,
            "episodes": options.episodes,
            "evaluations": None,
            "tolerance": 0.0,  # settled or not: everything that was chosen is measured
            "cache": options.cache or str(cache_beside(options.run)),
            "resume": options.resume,
        },
        source=options.run,
        profile_images=given.get("profile_images", SearchOptions.profile_images) if table else None,
    )
    folder = options.run.parent / f"{wanted.run_name(agent)}-s{wanted.seed}"
    return dataclasses.replace(wanted, output=options.output or folder)


def refuse_options_of_the_run(arguments: list[str]) -> None:
    """Raise ``AdrlGymError`` where a command line says again what the run has decided."""
    own, here = (
        {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(options)}
        for options in (SearchOptions, NewBudgetOptions)
    )
    given = [
        name for name in (argument.partition("=")[0].replace("_", "-") for argument in arguments) if name in own - here
    ]
    if given:
        raise AdrlGymError(f"{', '.join(given)}: this is as in the run; leave it out, or search anew")
