"""Searches with sequential calibration: what they measure, remember and export."""

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adrl_agents.cli import run as run_command
from adrl_agents.postprocess.run import RunOptions, load_run
from adrl_agents.runs.result import SearchResult
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.export.packed import load_packed
from adrl_gym.refit import calibrate
from tiny_runs import logits, search

pytestmark = pytest.mark.usefixtures("scripts")


def export(folder: Path, *arguments: str) -> int:
    """The command line, without the seconds that a new interpreter takes."""
    return run_command("export", [str(folder), *arguments])


def test_a_search_with_the_recipe_refit_measures_refitted_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = importlib.import_module("tiny_env")
    direct, refitted = search(tmp_path / "direct"), search(tmp_path / "refit", calibration="sequential")
    result, there = SearchResult.load(refitted / "result.json"), load_run(RunOptions(run=refitted))
    assert result.options["calibration"] == "sequential"
    assert "calibration" not in SearchResult.load(direct / "result.json").options
    network = calibrate(there.problem, there.bits.bits, tiny.images[:40])
    assert torch.equal(logits(there.problem.quantized(there.bits.bits)), logits(network))
    assert result.search_accuracy == pytest.approx(there.problem.measure(network).accuracy)
    assert result.search_agreement == pytest.approx(there.problem.measure(network).agreement)
    assert result.evaluations == 3, "one pass for each configuration"

    assert export(refitted, "--format", "packed", "--no-half") == 0
    assert "(refit weights)" in capsys.readouterr().out
    assert torch.equal(logits(load_packed(refitted / "packed.safetensors", tiny.Tiny())), logits(network))
    assert export(refitted, "--format", "packed", "--no-half", "--recipe", "direct") == 0
    independent = there.problem.quantized(there.bits.bits, calibration="independent")
    assert torch.equal(logits(load_packed(refitted / "packed.safetensors", tiny.Tiny())), logits(independent))

    with pytest.raises(AdrlGymError, match="belongs to another run, with --calibration None"):
        search(direct, calibration="sequential", resume=True)


def test_the_memo_keeps_recipes_apart_and_profiling_is_direct(tmp_path: Path) -> None:
    tiny = importlib.import_module("tiny_env")
    data = Splits(ImageSet(tiny.images[:40], tiny.labels[:40]), ImageSet(tiny.images[40:], tiny.labels[40:]), "tiny")
    options: dict[str, Any] = {"budget": 0.2, "cache": tmp_path / "cache.sqlite"}
    direct = QuantProblem(tiny.network, data, **options)
    refitted = QuantProblem(tiny.network, data, calibration="sequential", **options)
    bits = [(2, 2, 2, 2), (2, 2, 3, 2)]
    for b in bits:
        assert direct.evaluate(b) == direct.measure(direct.quantized(b))
        calibrated = calibrate(refitted, b, tiny.images[:40])
        metrics, expected = refitted.evaluate(b), refitted.measure(calibrated)
        assert (metrics.accuracy, metrics.agreement) == (expected.accuracy, expected.agreement)
        assert metrics.kl == pytest.approx(expected.kl)
        assert metrics != direct.evaluate(b)
        test = refitted.test(b)
        assert test is not None
        assert test.kl == pytest.approx(refitted.measure(calibrated, "test").kl)
    assert (refitted.memo_misses, refitted.evaluations) == (2, 2)
    np.testing.assert_array_equal(refitted.costs(bits, "kl"), direct.costs(bits, "kl"))
    again = QuantProblem(tiny.network, data, calibration="sequential", **options)
    assert again.evaluate(bits[0]) == refitted.evaluate(bits[0])
    assert (again.memo_hits, again.evaluations) == (1, 0)
    with pytest.raises(AdrlGymError, match="unknown calibration 'finetuned': choose one of independent, sequential"):
        QuantProblem(tiny.network, data, calibration="finetuned", budget=0.2)


def test_an_environment_with_the_recipe_can_be_pickled() -> None:
    tiny = importlib.import_module("tiny_env")
    problem = QuantProblem(
        tiny.network, Splits(ImageSet(tiny.images, None), None, "tiny"), calibration="sequential", budget=0.2
    )
    before = problem.evaluate((2, 2, 2, 2))
    copy = pickle.loads(pickle.dumps(problem))
    assert copy.measure(copy.quantized((2, 2, 2, 2))).kl == pytest.approx(before.kl)
