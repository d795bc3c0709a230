"""The options of a sweep, and the searches that they ask for."""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from adrl_agents.adrl import ADRLConfig
from adrl_agents.options import ADRLOptions, Options, SB3Options, SearchOptions, Switch
from adrl_agents.registry import AGENTS
from adrl_agents.sweep.search_task import SearchTask
from adrl_gym.cluster import LOCAL
from adrl_gym.costs import KINDS, Budget, plain_budget
from adrl_gym.errors import AdrlGymError

if TYPE_CHECKING:
    Agent: TypeAlias = str
    Kind: TypeAlias = str
else:  # the choices that tyro offers and checks
    Agent, Kind = Literal[tuple(AGENTS)], Literal[tuple(KINDS)]

PARETO_BUDGETS = 0.04, 0.05, 0.0625, 0.08, 0.1
_OWN = "budget", "seed", "output", "resume", "cache", "episodes", "evaluations"  # of each search
_KINDS: dict[str, type[Options]] = {"adrl": ADRLOptions, "haq": Options, "sb3": SB3Options, "search": SearchOptions}
_NAMED = {"sb3": "algo", "search": "method"}  # the option that names the agent


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Options):
    """Options of a sweep; those of ``Options`` are of every search."""

    budgets: tuple[float, ...] = PARETO_BUDGETS
    """Budgets of the searches: largest share of the float network's cost."""
    budget_kind: Kind = "size"
    """Cost that the budgets limit, and that the picture draws accuracy against."""
    agents: tuple[Agent, ...] = ("adrl",)
    """Agents and methods that search at every budget."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of every agent at every budget."""
    episodes: int = 0
    """Bit configurations that a search tries; 0 is each agent's own number."""
    evaluations: int | None = None
    """Most passes over all search images that a search may take; without it, each agent's own number."""
    refit: Switch = False
    """Refit every network that was found; the table and the picture show it as well."""
    threads: int = 1
    """CPU threads of one search. Results of several threads may differ from those of one in the last digits."""
    ray: str | None = None
    """Run the searches side by side on Ray: local (this machine), auto, HOST:PORT or ray://HOST:PORT of a cluster."""
    gpus: float = 0.0
    """GPUs of one search on Ray; 0.5 lets two searches share one."""
    adrl: ADRLConfig = field(default_factory=ADRLConfig)
    """Settings of ADRL."""
    budget: Annotated[Budget, tyro.conf.Suppress] = Options.budget
    seed: Annotated[int, tyro.conf.Suppress] = Options.seed
    cache: Annotated[str | None, tyro.conf.Suppress] = None
    resume: Annotated[bool, tyro.conf.Suppress] = True
    output: Path | None = None
    """Folder of the sweep; without it, runs/<env>-sweep. The same command goes on where a sweep was stopped."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        for name in ("budgets", "agents", "seeds"):
            _refuse_repeated(name, getattr(self, name))
        if self.episodes != 0:
            self._at_least_one("episodes")
        self._at_least_one("threads")
        if not 0 <= self.gpus < math.inf:
            raise AdrlGymError(f"gpus must be finite and at least 0, got {self.gpus:g}", parameter="gpus")
        if self.ray is not None and self.workers is not None:
            raise AdrlGymError(
                "ray spreads whole searches over workers, and workers spreads one search: give one of the two",
                parameter=("ray", "workers"),
            )
        if self.ray is not None and self.threads > len(os.sched_getaffinity(0)) and self.ray == LOCAL:
            raise AdrlGymError(
                f"threads must be at most the {len(os.sched_getaffinity(0))} CPUs of this machine, got {self.threads}",
                parameter="threads",
            )
        for task in self.tasks():
            task.options.check()

    @property
    def folder(self) -> Path:
        """The folder of the table, the picture and the runs."""
        parts = (
            f"{self.env_name}-sweep",
            *([] if self.activations == "float" else [f"a{self.activations}"]),
            *([] if self.budget_kind == "size" else [self.budget_kind]),
        )
        return self.output or Path("runs") / "-".join(parts)

    def tasks(self) -> list[SearchTask]:
        """Return every search: all seeds and agents of a budget before those of the next one."""
        grid = [(budget, agent, seed) for budget in self.budgets for agent in self.agents for seed in self.seeds]
        return [self._task(*point) for point in grid]

    def _task(self, budget: float, agent: str, seed: int) -> SearchTask:
        command = AGENTS[agent].command
        kind = _KINDS[command]
        values: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(Options) if f.name not in _OWN
        }
        values |= {
            "budget": plain_budget({self.budget_kind: budget}),
            "seed": seed,
            "wandb_group": self.wandb_group or self.folder.name,
        }
        values |= {"episodes": self.episodes} if self.episodes else {}
        values |= {"evaluations": self.evaluations} if self.evaluations is not None else {}
        if kind is ADRLOptions:
            values |= {f.name: getattr(self.adrl, f.name) for f in dataclasses.fields(ADRLConfig)}
        if command in _NAMED:
            values[_NAMED[command]] = agent
        options = kind(**values)
        return SearchTask(f"{options.run_name(agent)}-s{seed}", agent, options, self.refit, self.threads)


def _refuse_repeated(name: str, values: Sequence[object]) -> None:
    if not values:
        raise AdrlGymError(f"{name} must hold one value at least", parameter=name)
    for value in values:
        if values.count(value) > 1:
            raise AdrlGymError(f"{name} holds {value} twice: give each value once", parameter=name)
