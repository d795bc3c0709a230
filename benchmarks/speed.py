"""How fast evaluations are: ratios against the plain way, measured side by side.

    python benchmarks/speed.py --data-root D

Every figure is the time of a variant over that of its reference. The two alternate in one process, and a row holds the
median, least and largest ratio over the repeats. Each network is measured in a process of its own, whose peak memory
the rows give. The searches are whole command lines: with --before, also those of an earlier commit's checkout. Rows go
to benchmarks/results/speed.csv; those of networks that are not measured in this call stay.
"""

import csv
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torchvision
import tyro
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from adrl_agents.adrl import ProfilingIndicator
from adrl_agents.one_layer import LayerTable, one_layer_costs
from adrl_gym.data import ImageSet, Splits, load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Engine, PlainEvaluator, Score, prepare_layers
from adrl_gym.evaluation.outcomes import compare
from adrl_gym.evaluation.precision import check_native
from adrl_gym.layers import find_layers
from adrl_gym.networks import load_network
from adrl_gym.problem import QuantProblem

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("network", "images", "case", "variant", "reference", "ratio", "ratio_min", "ratio_max", "peak_mib")
Case = Literal["resnet20", "cifarnet", "resnet20-10000", "cifarnet-10000", "resnet50", "search"]
CPU = torch.device("cpu")
SCORE: Score = "kl"
CANDIDATES, PROFILE_IMAGES = 4, 250
Row = dict[str, Any]
Work = Callable[[], object]


@dataclass
class Options:
    """Options of the measurement."""

    data_root: Path
    """Folder that holds cifar-10-batches-py."""
    cases: tuple[Case, ...] = get_args(Case)
    """What to measure."""
    repeats: int = 3
    """How often variant and reference alternate."""
    results: Path = RESULTS
    """Folder of speed.csv."""
    before: Path | None = None
    """Checkout of an earlier commit, whose searches are compared with."""
    here: bool = False
    """Measure one case in this process and print rows as JSON: what the command calls itself with."""


def alternate(repeats: int, *works: Work, first: bool = True) -> list[list[float]]:
    """Seconds of each work, in turn; ``first``: each has run once before."""
    for work in works if first else ():
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return seconds


def row(case: str, variant: str, reference: str, over: Sequence[float], under: Sequence[float]) -> Row:
    """One line: ``over`` and ``under`` are seconds of variant and reference, repeat by repeat."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return {
        "case": case,
        "variant": variant,
        "reference": reference,
        "ratio": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
    }


class Bench:
    """One network's engine, plain evaluator and bare forward pass, on the same images."""

    def __init__(self, network: nn.Module, images: ImageSet, layers: Sequence[int], quantizer: str) -> None:
        every = find_layers(network, tuple(images.images.shape[1:]))
        chosen = [every[i] for i in layers] if layers else list(every)
        made = prepare_layers(
            network, chosen, images.images[:256], quantizer=quantizer, bits=range(1, 9), bias_correction=True
        )
        by_name = {layer.name: table for layer, table in zip(chosen, made, strict=True)}
        versions = [by_name.get(layer.name, {}) for layer in every]
        self.images, self.layers, self.measured = images, every, [every.index(layer) for layer in chosen]
        self.engine = Engine(network, every, versions, images, [CPU])
        self._network, self._versions = network, versions
        self.plain = PlainEvaluator(network, every, versions)
        self.bare = bare_forward(network, images)
        self.float: list[int | None] = [None] * len(every)
        self.four = [4 if i in self.measured else None for i in range(len(every))]
        self._reference = self.plain.logits(images, self.float)  # (N, K)

    def bfloat16(self) -> Engine:
        """Another engine, in that precision."""
        return Engine(self._network, self.layers, self._versions, self.images, [CPU], precision="bfloat16")

    def whole(self, engine: Engine | None = None) -> None:
        """One full evaluation by the engine, nothing kept from before."""
        engine = engine or self.engine
        engine.forget()
        engine.measure([self.four], range(engine.slices))

    def plainly(self, bits: Sequence[int | None] | None = None) -> None:
        """One full evaluation by the plain way, with the same metrics."""
        logits = self.plain.logits(self.images, bits or self.four)  # (N, K)
        compare(logits[None], self._reference, self.images.labels)

    def alone(self, layer: int, bits: int) -> list[int | None]:
        """All float but one layer."""
        return [*self.float[:layer], bits, *self.float[layer + 1 :]]

    def changes(self) -> None:
        """After a whole configuration, one layer changed: every layer in turn, each from what was kept."""
        for layer in self.measured:
            self.engine.forget()
            changed = [*self.four[:layer], 5, *self.four[layer + 1 :]]
            self.engine.measure([self.four, changed], range(self.engine.slices))

    def table(self) -> None:
        """Every measured layer at every bit-width, on all images."""
        self.engine.forget()
        for layer in self.measured:
            self.engine.measure([self.alone(layer, b) for b in range(1, 9)], range(self.engine.slices))


def bare_forward(network: nn.Module, images: ImageSet) -> Work:
    """The float network with batch norm folded, channels last, small batches, one thread each: the best found."""
    size = 50 if images.images.shape[-1] <= 32 else 8
    batches = images.images.to(memory_format=torch.channels_last).split(size)
    workers = torch.get_num_threads()
    copies = [fuse(network.eval()).to(memory_format=torch.channels_last) for _ in range(workers)]
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))

    def share(worker: int) -> list[Tensor]:
        with torch.inference_mode():
            return [copies[worker](batch) for batch in batches[worker::workers]]

    return lambda: list(pool.map(share, range(workers)))


def forward_cases(bench: Bench, repeats: int) -> Iterator[Row]:
    """Full evaluation against the plain way and the lower bound."""
    engine, plain, bare = alternate(repeats, bench.whole, bench.plainly, bench.bare)
    yield row("full_evaluation", "engine", "plain", engine, plain)
    yield row("full_evaluation", "engine", "bare forward", engine, bare)
    yield row("bare_forward", "bare forward", "plain", bare, plain)


def bfloat16_cases(bench: Bench, repeats: int) -> Iterator[Row]:
    """The option of profiling in bfloat16, where the processor has it."""
    try:
        check_native("bfloat16", [CPU])
    except AdrlGymError as error:
        print(error, file=sys.stderr)
        return
    half = bench.bfloat16()
    fast, exact = alternate(repeats, lambda: bench.whole(half), bench.whole)
    yield row("full_evaluation", "engine, bfloat16", "engine", fast, exact)


def layer_cases(bench: Bench, repeats: int) -> Iterator[Row]:
    """Change of one layer, and the table of all layers alone."""
    changes, table, whole = alternate(repeats, bench.changes, bench.table, bench.whole)
    count = len(bench.measured)
    one_change = [(c / count - w) for c, w in zip(changes, whole, strict=True)]  # without the configuration before it
    yield row("one_layer_change", "engine", "engine, whole", one_change, whole)
    yield row("table", "engine, all images", "engine, whole, n x 8 times", table, [8 * count * w for w in whole])


def candidate_cases(problem: QuantProblem, bench: Bench, repeats: int) -> Iterator[Row]:
    """One episode's choices among candidates, each on at most 250 images, against plain passes over as many."""
    some = ImageSet(bench.images.images[:PROFILE_IMAGES], None)
    costs = one_layer_costs(problem, SCORE, PROFILE_IMAGES)
    best = LayerTable(problem, costs).completion.complete(())
    candidates = [sorted({min(max(b + d, 1), 8) for d in (-2, -1, 0, 1)}) for b in best]

    def plain_episode() -> None:
        for _ in range(sum(map(len, candidates))):
            bench.plain.logits(some, best)

    for context in ("single", "prefix", "completed"):
        indicator = ProfilingIndicator(context, SCORE, PROFILE_IMAGES)

        def episode(indicator: ProfilingIndicator = indicator) -> None:
            for layer, bits in enumerate(candidates):
                indicator(problem, best[:layer], bits)

        def cold(indicator: ProfilingIndicator = indicator) -> None:
            table = indicator._known  # the table is a case of its own
            forget(problem)
            indicator._known = table
            episode(indicator)

        episode()
        variant = "table look-up" if context == "single" else "engine, early stopping"
        times, plain = alternate(repeats, cold, plain_episode)
        yield row(f"candidates_{context}", variant, "plain, every candidate", times, plain)


def forget(problem: QuantProblem) -> None:
    """As if the problem had just been made."""
    for source in problem._sources.values():
        source.memo.forget()
        source.engine.forget()


def measure(case: Case, options: Options) -> Iterator[Row]:
    """Rows of one case."""
    if case == "resnet50":
        torch.manual_seed(0)
        network = torchvision.models.resnet50().eval()
        images = ImageSet(torch.randn(64, 3, 224, 224), torch.zeros(64, dtype=torch.long))
        bench = Bench(network, images, layers=(0, 1, -2, -1), quantizer="linear")
        for found in itertools.chain(forward_cases(bench, options.repeats), layer_cases(bench, options.repeats)):
            yield {"network": "resnet50", "images": 64, **found}
        return
    name, _, count = case.partition("-")
    network = load_network(name).network
    splits = load_splits(name, "cifar10", data_root=options.data_root)
    if count:
        assert isinstance(splits.test, ImageSet)
        bench = Bench(network, splits.test, layers=(), quantizer="linear")
        for found in forward_cases(bench, options.repeats):
            yield {"network": name, "images": len(splits.test), **found}
        return
    bench = Bench(network, splits.search, layers=(), quantizer="linear")
    problem = QuantProblem(network, Splits(splits.search, None, splits.source), quantizer="linear", budget=0.1)
    rows = itertools.chain(
        forward_cases(bench, options.repeats),
        bfloat16_cases(bench, options.repeats),
        layer_cases(bench, options.repeats),
        candidate_cases(problem, bench, options.repeats),
    )
    for found in rows:
        yield {"network": name, "images": len(splits.search), **found}


def searches(options: Options) -> Iterator[Row]:
    """Whole command lines: 40 episodes in context single, and one in completed, before and now, cold and warm."""
    now = Path(__file__).parents[1]
    variants = {
        "context single": ["--context", "single"],
        "context completed, 1 episode": ["--context", "completed", "--episodes", "1"],
    }
    for variant, more in variants.items():
        with tempfile.TemporaryDirectory() as folder:
            memo = Path(folder) / "memo.sqlite"

            def run(root: Path, memory: list[str], more: list[str] = more, folder: str = folder) -> Work:
                # A new folder for every run, so that none is resumed.
                return lambda: search(root, Path(tempfile.mkdtemp(dir=folder)) / "run", options, [*more, *memory])

            works = [run(now, ["--memo", "none"]), run(now, ["--memo", str(memo)])]
            works += [] if options.before is None else [run(options.before.resolve(), [])]
            works[1]()  # fills the memo
            cold, warm, *before = alternate(options.repeats, *works, first=False)
            found = [row("search_warm", f"{variant}, warm memo", f"{variant}, no memo", warm, cold)]
            for seconds in before:
                earlier = f"{variant}, commit {head(options.before)}"
                found.append(row("search_cold", f"{variant}, no memo", earlier, cold, seconds))
            for line in found:
                yield {"network": "resnet20", "images": 1000, **line}


def search(root: Path, output: Path, options: Options, more: list[str]) -> None:
    """``agents/train_adrl.py`` of a checkout."""
    command = [sys.executable, str(root / "agents" / "train_adrl.py"), "--data", "cifar10"]
    command += ["--data-root", str(options.data_root), "--output", str(output), *more]
    path = os.pathsep.join([str(root), str(root / "agents")])
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})


def head(root: Path | None) -> str:
    """Short hash of a checkout's commit."""
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def peak_mib() -> int:
    """The most memory that this process, and any that it waited for, has had."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024


def write(rows: list[Row], output: Path) -> None:
    """Put the rows in the place of those of the same networks, images and cases."""
    key = ("network", "images", "case")
    kept: list[Row] = []
    if output.exists():
        with output.open(newline="") as file:
            kept = list(csv.DictReader(file))
    fresh = {tuple(str(r[k]) for k in key) for r in rows}
    kept = [r for r in kept if tuple(str(r[k]) for k in key) not in fresh]
    part = output.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])
    part.replace(output)


def main(options: Options) -> None:
    options.data_root = options.data_root.resolve()
    if options.here:
        (case,) = options.cases
        rows = list(searches(options) if case == "search" else measure(case, options))
        print(json.dumps([{**r, "peak_mib": peak_mib()} for r in rows]))
        return
    for case in options.cases:
        command = [sys.executable, __file__, "--here", "--cases", case, "--data-root", str(options.data_root)]
        command += ["--repeats", str(options.repeats)]
        command += [] if options.before is None else ["--before", str(options.before)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows = json.loads(done.stdout.splitlines()[-1])
        write(rows, options.results / "speed.csv")
        for r in rows:
            print(" | ".join(str(r[c]) for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
