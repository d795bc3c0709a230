"""The suites of searches that benchmarks/run.py runs. By itself it prints a suite's command lines.

python -m benchmarks.harness.suites --suite paper
"""

import itertools
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import tyro

from adrl_agents.registry import names
from adrl_gym.evaluation import SCORES

ROOT = Path(__file__).parents[2]
Suite = Literal["comparison", "paper", "ablations", "quick"]
Protocol = Literal["search", "matched"]

#: Network of the package -> its environment.
ENV_IDS = {"resnet20": "adrl_gym/ResNet20-Cifar10-v0", "cifarnet": "adrl_gym/CifarNet-Cifar10-v0"}
ON_TABLE = ("ip-kl", "greedy", "local")  # searches that also start from a table of gradients


def _searches() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the searches without learning but the exhaustive one; integer programming once for each score."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for method in names("search"):
        options = [{"method": method}] if method != "ip" else [{"method": method, "score": score} for score in SCORES]
        found |= {"-".join(o.values()): ("search", o) for o in options if method != "exhaustive"}
    return found


#: Name in the tables -> script below ``agents``, and options.
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "adrl": ("train_adrl", {}),
    "d-adrl": ("train_adrl", {"indicator": "distance"}),
    "haq": ("train_haq", {}),
    **{algo: ("train_sb3", {"algo": algo}) for algo in names("sb3")},
    **_searches(),
    **{
        f"{name}+gradient": (_searches()[name][0], {**_searches()[name][1], "sensitivity": "gradient"})
        for name in ON_TABLE
    },
}
# ADRL with one of its choices changed (some need another one changed too); d-adrl is the one of the indicator.
CHANGED: list[dict[str, Any]] = [
    *({"k": k} for k in (1, 2, 4)),
    *({"score": score} for score in SCORES if score != "kl"),
    {"context": "single"},
    {"context": "prefix"},
    {"context": "completed"},
    {"context": "completed", "completion": "uniform"},
    {"context": "completed", "early-termination": False},
    {"data": "data-free"},
    {"memoization": False},
    {"sensitivity": "measured"},
]
ABLATIONS = {"".join(["adrl", *(f"+{k}={v}" for k, v in changed.items())]): changed for changed in CHANGED}
ADRL_VARIANTS = ("adrl", "d-adrl")  # these run for as many episodes as their default says
LONG = ("haq", *names("sb3"), "random", "tpe")  # these for PAPER_EPISODES
ONLY_IN_B = tuple(algo for algo in names("sb3") if algo != "ddpg")
COMPARISON = (("linear", 0.1), ("gptq", 0.0625))  # quantizer, size over 32-bit size
PAPER = {"A": ("linear", 0.1), "B": ("linear", 0.0625), "C": ("gptq", 0.05)}
FINETUNED = {"finetune-images": 2560}  # HAQ's protocol: the reward after 20 steps of finetuning
PARETO = (0.04, 0.05, 0.0625, 0.08, 0.1)
PARETO_AGENTS = ("adrl", "haq", "ip-kl", "uniform")
COMPARISON_EPISODES, PAPER_EPISODES, QUICK_EPISODES = 300, 600, 25


@dataclass(frozen=True)
class Run:
    """One command line.

    Attributes:
        network, quantizer, budget, agent, seed: of the run; ``agent`` is a key of ``CONTENDERS`` or ``ABLATIONS``.
        varied: options that differ from the agent's.
        protocol: ``search`` runs for its episodes, ``matched`` for as many evaluations as ADRL took in its setting.
    """

    network: str
    quantizer: str
    budget: float
    agent: str
    seed: int
    varied: dict[str, Any] = field(default_factory=dict)
    protocol: Protocol = "search"

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        options = "".join(f"-{key}={value}" for key, value in self.varied.items())
        return f"{self.network}-{self.quantizer}-{self.budget:g}-{self.agent}{options}-s{self.seed}"

    @property
    def label(self) -> str:
        """Protocol and name: what ``--only`` and ``--again`` look at."""
        return f"{self.protocol}-{self.name}"

    @property
    def setting(self) -> tuple[Any, ...]:
        """Setting that runs must share to be compared: network, quantizer, budget, and options but those of length."""
        return self.network, self.quantizer, self.budget, self.varied_options

    @property
    def varied_options(self) -> str:
        """``varied``, less the options that say how long the search is."""
        return " ".join(f"{k}={v}" for k, v in self.varied.items() if k not in ("episodes", "evaluations"))

    @property
    def expected_cost(self) -> float:
        """About how long it takes, in evaluations of ResNet20, to tell the time that is left."""
        size = {"resnet20": 1.0, "cifarnet": 0.2}[self.network]
        return 10 + size * float(self.varied.get("evaluations", self.varied.get("episodes", 60)))

    def command(self, data_root: Path, output: Path) -> list[str]:
        """The arguments for Python."""
        script, own = CONTENDERS.get(self.agent) or ("train_adrl", ABLATIONS[self.agent])
        options = {
            "env-id": ENV_IDS[self.network],
            "data": "cifar10",
            "data-root": data_root,
            "quantizer": self.quantizer,
            "budget": self.budget,
            "seed": self.seed,
            "output": output,
            "cache": "none",  # or evaluations and seconds would hang on what ran before
            **own,
            **self.varied,
        }
        arguments = [str(ROOT / "agents" / f"{script}.py")]
        for key, value in options.items():
            arguments += [f"--{'' if value else 'no-'}{key}"] if isinstance(value, bool) else [f"--{key}", str(value)]
        return arguments


def comparison() -> list[Run]:
    """ADRL with its defaults, HAQ and the largest uniform bit-width, on both networks and in two settings."""
    agents: list[tuple[str, dict[str, Any]]] = [("adrl", {}), ("haq", {"episodes": COMPARISON_EPISODES})]
    return [
        Run(network, quantizer, budget, agent, seed, varied)
        for seed in range(5)
        for network in ENV_IDS
        for quantizer, budget in COMPARISON
        for agent, varied in [*agents, *([("uniform", {"episodes": 1})] if seed == 0 else [])]
    ]


def paper() -> list[Run]:
    """The evaluation of the paper: all agents, both networks, settings A, B and C, and the Pareto curve.

    The most telling first: ADRL, then seed 0 of all others, before further seeds; B on ResNet20 before other settings.
    """
    runs: list[Run] = []
    for network, setting in (*itertools.product(["resnet20"], "BAC"), *itertools.product(["cifarnet"], "BA")):
        there: list[Run] = []
        for agent in CONTENDERS:
            for seed in range(_seeds(agent, network, setting)):
                there += _both_protocols(network, *PAPER[setting], agent, seed, PAPER_EPISODES)
        runs += sorted(there, key=lambda run: run.agent != "adrl" and (run.protocol == "search") + 1)
    for quantizer, varied in (("kmeans", {}), ("linear", {"bias-correction": False})):
        for agent, seeds in (("adrl", 5), ("haq", 1)):
            for seed in range(seeds):
                runs += _both_protocols("resnet20", quantizer, 0.1, agent, seed, PAPER_EPISODES, varied)
    for agent, seeds in (("adrl", 3), ("haq", 1)):
        length = {} if agent in ADRL_VARIANTS else {"episodes": PAPER_EPISODES}
        runs += [Run("resnet20", *PAPER["A"], agent, seed, {**FINETUNED, **length}) for seed in range(seeds)]
    runs += _pareto("resnet20", PARETO, PAPER_EPISODES)
    return sorted(_unique(runs), key=lambda run: run.seed > 0 and run.agent != "adrl")


def ablations() -> list[Run]:
    """ADRL with one choice changed, in setting B on ResNet20; what it is compared with is in ``paper``."""
    # Without memoization the same is found, so one seed tells what it costs.
    return [
        Run("resnet20", *PAPER["B"], agent, seed)
        for seed in range(3)
        for agent in ABLATIONS
        if seed == 0 or "memoization" not in agent
    ]


def quick() -> list[Run]:
    """A small version of ``paper`` and ``ablations``: CifarNet, one seed, short searches, one agent of each kind."""
    runs = []
    for agent in ("adrl", "d-adrl", "haq", "ddpg", "uniform", "random", "ip-kl", "local"):
        runs += _both_protocols("cifarnet", *PAPER["B"], agent, 0, QUICK_EPISODES)
    pareto = _pareto("cifarnet", PARETO[::4], QUICK_EPISODES)
    runs += [run for run in pareto if run.agent != "haq" or run.protocol == "search"]  # HAQ as the table shows it
    changed = ("adrl+k=1", "adrl+context=single")
    return _unique([*runs, *(Run("cifarnet", *PAPER["B"], agent, 0) for agent in changed)])


# The CSV file of each suite's runs.
FILES: dict[Suite, str] = {
    "comparison": "comparison",
    **dict.fromkeys(("paper", "ablations", "quick"), "runs"),
}

SUITES: dict[Suite, Callable[[], list[Run]]] = {
    "comparison": comparison,
    "paper": paper,
    "ablations": ablations,
    "quick": quick,
}


def _seeds(agent: str, network: str, setting: str) -> int:
    if agent == "adrl":
        return 5
    if agent == "haq":
        return 5 if network == "resnet20" and setting in "AB" else 3
    most_agents = network == "resnet20" and setting == "B"
    if agent in ONLY_IN_B:
        return 2 if most_agents else 0
    return 3 if most_agents else 1


def _both_protocols(
    network: str,
    quantizer: str,
    budget: float,
    agent: str,
    seed: int,
    episodes: int,
    varied: dict[str, Any] | None = None,
) -> list[Run]:
    """A run of as many evaluations as ADRL takes, and one of the agent's own length, if it has one."""
    fixed, length = varied or {}, {"episodes": episodes}
    runs = []
    if agent != "adrl":
        runs.append(Run(network, quantizer, budget, agent, seed, {**fixed, **length}, "matched"))
    if agent in ADRL_VARIANTS or agent in LONG:
        runs.append(
            Run(network, quantizer, budget, agent, seed, fixed if agent in ADRL_VARIANTS else {**fixed, **length})
        )
    return runs


def _pareto(network: str, budgets: tuple[float, ...], episodes: int) -> list[Run]:
    return [
        run
        for budget in budgets
        for agent in PARETO_AGENTS
        for run in _both_protocols(network, "gptq", budget, agent, 0, episodes)
    ]


def _unique(runs: list[Run]) -> list[Run]:
    return list({(run.name, run.protocol): run for run in runs}.values())


def results_of(suite: Suite, folder: Path | None) -> Path:
    """Folder of a suite's CSV files: ``folder``, or else the committed ones, which the small version never touches."""
    return folder or ROOT / ("runs/quick" if suite == "quick" else "benchmarks/results")


@dataclass
class Options:
    """Options of the list."""

    suite: Suite
    """Which searches to list."""
    data_root: Path = Path("DATA")
    """Folder that holds cifar-10-batches-py."""
    runs: Path = Path("runs/benchmarks")
    """Folder of the runs' folders."""


def main(options: Options) -> None:
    for run in SUITES[options.suite]():
        like_adrl = " --evaluations <as many as ADRL_VARIANTS took>" if run.protocol == "matched" else ""
        arguments = run.command(options.data_root, options.runs / run.name)
        script = Path(arguments[0]).relative_to(ROOT)
        print(f"python {shlex.join([str(script), *arguments[1:]])}{like_adrl}")


if __name__ == "__main__":
    assert set(SUITES) == set(get_args(Suite))
    main(tyro.cli(Options, description=__doc__))
