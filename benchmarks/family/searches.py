"""Compare searches by ADRL that start from pretrained policies with searches from scratch, on unseen networks.

    python -m benchmarks.family.searches --data-root D --policies F/interactions-s0/policy.zip

Writes benchmarks/results/family_searches.csv: the least divergence on the search images after 5, 10 and 40 evaluations
(tables included), the evaluations at which a search first has the final divergence of the one from scratch, and the
test accuracy. A second call goes on with what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import tyro

from adrl_agents.options import ADRLOptions
from adrl_agents.runs import Episode, load_history
from adrl_agents.search import run_search
from benchmarks.harness.csv_file import Row, add_row, read_rows
from benchmarks.harness.suites import ENV_IDS

_RESULTS = Path(__file__).parents[1] / "results"
_POINTS = 5, 10, 40  # evaluations; a search by ADRL ends at 40 of itself
_EQUAL = 1e-4  # of a divergence: what is written is rounded
SCRATCH = "scratch"


@dataclass
class Options:
    """Options of the comparison."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    policies: tuple[Path, ...]
    """Files of policies, each in a folder DESIGN-sSEED, which names the start."""
    networks: tuple[str, ...] = tuple(ENV_IDS)
    """Networks that the policy has not seen."""
    quantizers: tuple[str, ...] = ("gptq", "linear")
    """Roundings of weights."""
    budgets: tuple[float, ...] = (0.05, 0.0625)
    """Largest shares of the 32-bit size."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the searches."""
    runs: Path = Path("runs/family")
    """Folder of the searches' folders."""
    results: Path = _RESULTS
    """Folder of family_searches.csv."""


def least_kl(history: Sequence[Episode], evaluations: float) -> float | None:
    """Return the least divergence within so many evaluations; none before the first configuration."""
    return min((episode.kl for episode in history if episode.evaluations <= evaluations), default=None)


def evaluations_to(history: Sequence[Episode], kl: float) -> float | None:
    """Return the evaluations after which a search first had a divergence; none if it never did."""
    return next((episode.evaluations for episode in history if episode.kl <= kl * (1 + _EQUAL)), None)


def search_row(
    options: Options, setting: tuple[str, str, float, int], start: str, policy: Path | None, target: float | None
) -> Row:
    """Search, and return the row; ``target`` is the divergence to reach, without one that of this search."""
    network, quantizer, budget, seed = setting
    output = options.runs / f"{network}-{quantizer}-{budget:g}-{start}-s{seed}"
    result = run_search(
        "adrl",
        ADRLOptions(
            env_id=ENV_IDS[network],
            quantizer=quantizer,
            budget=budget,
            data="cifar10",
            data_root=options.data_root,
            seed=seed,
            policy=policy,
            cache="none",
            output=output,
            resume=True,
        ),
    )
    history = load_history(output / "episodes.csv")
    final = least_kl(history, max(_POINTS))
    target = final if target is None else target
    reached = None if target is None else evaluations_to(history, target)
    return {
        **dict(zip(("network", "quantizer", "budget", "seed"), map(str, setting), strict=True)),
        "start": start,
        **{f"kl_{point}": _text(least_kl(history, point)) for point in _POINTS},
        "reached": _text(reached),
        "evaluations": str(result.evaluations),
        "test_accuracy": _text(result.test_accuracy),
        "checkpoint": result.checkpoint[:16],
        "commit": str(result.git_commit),
    }


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def main(options: Options) -> None:
    """Search what is missing, and write the file anew after each."""
    file = options.results / "family_searches.csv"
    starts = {SCRATCH: None, **{policy.parent.name.rpartition("-s")[0]: policy for policy in options.policies}}
    for setting in product(options.networks, options.quantizers, options.budgets, options.seeds):
        for start, policy in starts.items():
            names = "network", "quantizer", "budget", "seed"
            own = [row for row in read_rows(file) if tuple(row[name] for name in names) == tuple(map(str, setting))]
            if any(row["start"] == start for row in own):
                continue
            found = next((row["kl_40"] for row in own if row["start"] == SCRATCH), "")  # empty: found nothing
            add_row(file, search_row(options, setting, start, policy, float(found) if found else None))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
