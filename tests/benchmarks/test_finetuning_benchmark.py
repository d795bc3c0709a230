"""benchmarks/experiments/finetuning.py: what is finetuned, what is written, and what figure and table make of it."""

import csv
import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits

ROOT = Path(__file__).parents[2]
FIRST = "network,agent,budget,seed,start,epoch,search_accuracy,test_accuracy,test_agreement,test_kl,test_loss"
pytestmark = pytest.mark.usefixtures("benchmark_scripts")


def script(name: str) -> Any:
    return importlib.import_module(name)


def images(count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 32, 32, generator=generator)
    return ImageSet(x, torch.randint(0, 10, (count,), generator=generator))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script with a few images of noise instead of CIFAR-10."""
    module = script("benchmarks.experiments.finetuning")
    monkeypatch.setattr(module, "load_cifar10", lambda _root, split: images(20, len(split)))
    monkeypatch.setattr(module, "cifar10_splits", lambda _root, _count: Splits(images(20, 1), images(20, 2), "noise"))
    monkeypatch.setattr(os, "setsid", lambda: None)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_bits_are_those_of_the_committed_searches() -> None:
    finetuning = script("benchmarks.experiments.finetuning")
    with (ROOT / "benchmarks" / "results" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for run in finetuning.RUNS:
        found = finetuning.bits_of(run, ROOT / "benchmarks" / "results")
        if run.budget == 0.0625:
            wanted = [run.network, run.agent, "gptq", "0.0625", str(run.seed)]
            (row,) = (r for r in rows if [r[n] for n in ("network", "agent", "quantizer", "budget", "seed")] == wanted)
            assert found == tuple(map(int, row["bits"].split()))
            assert sum(found) > len(found)
    assert finetuning.bits_of(finetuning.FinetuneRun("resnet20", "adrl", 0.001, 0, "direct"), ROOT) is None
    assert len({run.name for run in finetuning.RUNS}) == len(finetuning.RUNS)


def test_rows_are_written_after_each_epoch_and_a_finetuning_goes_on(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small.Options(data_root=tmp_path, epochs=2, runs=tmp_path / "runs", results=tmp_path)
    run = small.FinetuneRun("cifarnet", "adrl", 0.0625, 0, "direct")
    small._gather(options)
    assert not (tmp_path / "finetune.csv").exists()
    counts: list[int] = []
    write = small.write_rows

    def note(path: Path, rows: Iterable[dict[str, Any]]) -> None:
        rows = list(rows)
        counts.append(len(rows))
        write(path, rows)
        if len(counts) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(small, "write_rows", note)
    with pytest.raises(KeyboardInterrupt):
        small._train(run, (8, 2, 2, 1, 8), options)
    assert not small.is_finished(run, options)
    small._train(run, (8, 2, 2, 1, 8), options)
    assert counts == [1, 2, 2, 3], "epoch 0, epoch 1, and from there on"
    assert small.is_finished(run, options)
    monkeypatch.setattr(small, "RUNS", (run,))
    small._gather(options)
    text = (tmp_path / "finetune.csv").read_text()
    assert text.startswith(FIRST)
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {row["bits"] for row in rows} == {"8 2 2 1 8"}
    assert sum(int(row["best"]) for row in rows) == 1
    assert min(rows, key=lambda row: float(row["search_kl"]))["best"] == "1"
    (options.runs / run.name / "rows.csv").unlink()
    small._gather(options)
    assert (tmp_path / "finetune.csv").read_text() == text, "rows of a run whose folder is gone stay"


def rows_of(agent: str, start: str, accuracies: list[float], seed: int = 0, epochs: int = 3) -> list[dict[str, Any]]:
    key = {"network": "resnet20", "agent": agent, "budget": 0.0625, "seed": seed, "start": start}
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    return [
        {
            **key,
            "epoch": epoch,
            "search_accuracy": value,
            "test_accuracy": value,
            "float_test_accuracy": 92.0,
            "best": int(epoch == best),
            "epochs": epochs,
        }
        for epoch, value in enumerate(accuracies)
    ]


def test_the_table_has_the_other_metrics_where_they_are_known(tmp_path: Path) -> None:
    rows = rows_of("adrl", "refit", [89, 91]) + rows_of("uniform", "direct", [80, 85])
    for row in rows[:2]:
        row |= {"epochs": 1, "test_agreement": 93.5, "test_kl": 0.0651, "test_loss": 0.312}
    for row in rows[2:]:
        row["epochs"] = 1
    script("benchmarks.harness.csv_file").write_rows(tmp_path / "finetune.csv", rows)
    header, lines = script("benchmarks.experiments.finetuned").finetune_table(tmp_path)
    column = header.index("agreement, KL, loss")
    assert [line[column] for line in lines] == ["93.50 %, 0.0651, 0.3120", ""]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        *rows_of("haq", "direct", [84, 88, 89, 90]),
        *rows_of("haq", "direct", [86, 88, 91, 91], seed=1),
        *rows_of("adrl", "refit", [89, 90.5, 91.5, 91.25]),
        *rows_of("uniform", "direct", [80, 85, 86, 87]),
        *rows_of("uniform", "refit", [80, 95]),  # goes on as yet
    ]
    script("benchmarks.harness.csv_file").write_rows(tmp_path / "finetune.csv", rows)
    return tmp_path


def test_the_table_says_when_haqs_last_accuracy_is_reached(results: Path) -> None:
    header, lines = script("benchmarks.experiments.finetuned").finetune_table(results)
    assert len(header) == len(lines[0])
    found = {(line[1], line[2]): line[3:] for line in lines}
    assert found == {
        ("P-ADRL (n=1)", "refit"): ["89.00", "91.50", "92.00", "3", "1"],
        ("HAQ (n=2)", "direct"): ["84.00 / 86.00", "90.00 / 91.00", "92.00", "3", "3"],
        ("uniform (n=1)", "direct"): ["80.00", "87.00", "92.00", "3", "never"],
    }


def test_the_figure_shows_each_agent_and_start(results: Path, tmp_path: Path) -> None:
    figures = script("benchmarks.reporting.figures")
    for name in ("figures", "again"):
        figures.main(figures.Options(results=results, output=tmp_path / name))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"finetuning-resnet20-0.0625.{form}" for form in ("png", "svg")
    }
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    svg = (tmp_path / "figures" / "finetuning-resnet20-0.0625.svg").read_text()
    for words in ("P-ADRL, refit (n=1)", "HAQ, direct (n=2)", "uniform, direct (n=1)", "float network", "epochs"):
        assert words in svg
    assert "uniform, refit" not in svg
