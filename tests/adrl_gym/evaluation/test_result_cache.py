"""The evaluation cache on disk: shared, safe against kills, and checked."""

import copy
import dataclasses
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from adrl_agents.options import ADRLOptions
from adrl_agents.runs.result import SearchResult
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.evaluation.fingerprint import fingerprint
from adrl_gym.evaluation.metrics import SampleMetrics
from adrl_gym.evaluation.result_cache import ResultCache, pack_metrics, unpack_metrics
from adrl_gym.layers import find_layers
from commands import ROOT, arguments, search_with

Batches = list[tuple[Tensor, Tensor]]


def metrics(seed: int, count: int = 50) -> SampleMetrics:
    random = np.random.default_rng(seed)
    flags = random.random((2, count)) < 0.5
    return SampleMetrics(flags[0], flags[1], *random.random((2, count), np.float32))


def same(a: SampleMetrics, b: SampleMetrics) -> bool:
    columns = [field.name for field in dataclasses.fields(SampleMetrics)]
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)


def problem(network: nn.Module, batches: Batches, cache: Path | None, **keywords: float) -> QuantProblem:
    images, labels = batches[0]
    splits = Splits(ImageSet(images, labels), None, "random")
    return QuantProblem(network, splits, cache=cache, **keywords)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(1, 70))
def test_packed_metrics_come_back(seed: int, count: int) -> None:
    assert same(unpack_metrics(pack_metrics(metrics(seed, count))), metrics(seed, count))


def test_another_process_s_cache_knows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.sqlite"
    ResultCache(path, "a").put([((1, None, 8), 3, metrics(0)), ((1, None, 8), 4, metrics(1))])
    again = ResultCache(path, "a")
    assert {s: same(found, metrics(s - 3)) for s, found in again.get((1, None, 8)).items()} == {3: True, 4: True}
    assert again.get((1, 1, 8)) == {}
    assert ResultCache(path, "b").get((1, None, 8)) == {}  # another problem


def test_a_warm_cache_answers_all_for_any_budget(tmp_path: Path, tiny: nn.Module, batches: Batches) -> None:
    path, bits = tmp_path / "cache.sqlite", (1, 2, 3, 4)
    cold = problem(tiny, batches, path)
    first = cold.evaluate(bits)
    warm = problem(tiny, batches, path, budget=0.25)
    assert warm.evaluate(bits) == first
    assert (warm.evaluations, warm.memo_hits, warm.memo_misses) == (0, 1, 0)
    assert problem(tiny, batches, None).evaluate(bits) == first
    assert (cold.evaluations, cold.memo_misses) == (1, 1)


def in_another_formula(tiny: Any) -> nn.Module:
    """The modules and weights of ``tiny``, and a ``repr`` that is the same."""

    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x).tanh()).tanh()  # (B, 8, 4, 4)
        return self.fc2(self.fc1(x.flatten(1)).tanh())  # (B, 5)

    other: nn.Module = copy.deepcopy(tiny)
    other.__class__ = type(type(tiny).__name__, (type(tiny),), {"forward": forward})
    assert repr(other) == repr(tiny)
    return other


def test_the_fingerprint_tells_problems_apart(tiny: nn.Module, batches: Batches) -> None:
    layers = find_layers(tiny, (3, 8, 8))
    images, labels = batches[0]

    def of(network: nn.Module = tiny, x: Tensor = images, y: Tensor | None = labels, **changes: object) -> str:
        keywords = {"quantizer": "gptq", "bias_correction": True, **changes}
        return fingerprint(network, layers, ImageSet(x, y), **keywords)  # type: ignore[arg-type]

    base = [of(), of()]
    assert base[0] == base[1]
    others = [of(x=images + 1), of(y=labels.flip(0)), of(y=None), of(quantizer="linear"), of(bias_correction=False)]
    others.append(of(in_another_formula(tiny)))
    tiny.register_buffer("scale", torch.ones(1), persistent=False)
    others.append(of())
    tiny.fc2.bias.data += 1  # type: ignore[union-attr, operator]
    assert len({base[0], *others, of()}) == 9


def damaged(rest: bytes) -> bytes:
    """A file that begins as an evaluation cache does, and then ..."""
    return b"SQLite format 3\x00" + bytes(52) + b"ADRL" + rest


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + bytes(5000), b"x"])
def test_a_foreign_file_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(content)
    with pytest.raises(AdrlGymError, match=r"cache.sqlite is not an evaluation cache .*name another file") as raised:
        ResultCache(path, "a")
    assert raised.value.parameter == "cache"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"cache.sqlite": content}


@pytest.mark.parametrize("rest", [b"", bytes(5000), b"x" * 5000])
def test_a_damaged_cache_is_set_aside(tmp_path: Path, rest: bytes) -> None:
    path, content = tmp_path / "cache.sqlite", damaged(rest)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="was renamed to cache.sqlite.aside-"):
        cache = ResultCache(path, "a")
    (aside,) = tmp_path.glob("*.aside-*")
    assert aside.read_bytes() == content
    cache.put([((1,), 0, metrics(0))])
    assert same(ResultCache(path, "a").get((1,))[0], metrics(0))


def test_nothing_that_was_set_aside_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    for content in (b"one", b"two", b"three"):  # within a second
        path.write_bytes(damaged(content))
        with pytest.warns(UserWarning, match="was renamed"):
            ResultCache(path, "a").close()
    found = {aside.read_bytes() for aside in tmp_path.glob("*.aside-*")}
    assert found == {damaged(content) for content in (b"one", b"two", b"three")}


def test_somebody_else_s_database_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE photos (name TEXT)")
        database.execute("INSERT INTO photos VALUES ('cat')")
    before = path.read_bytes()
    with pytest.raises(AdrlGymError, match=r"is not an evaluation cache .a database of something else."):
        ResultCache(path, "a")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"cache.sqlite": before}


def test_a_cache_of_another_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    before = ResultCache(path, "a")
    before.put([((1,), 0, metrics(0))])
    before.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 1")  # whose rows had no loss
    with pytest.warns(UserWarning, match="an evaluation cache of format 1, not 2"):
        cache = ResultCache(path, "a")
    assert cache.get((1,)) == {}
    (aside,) = tmp_path.glob("*.aside-*[0-9]")  # not its write-ahead log
    assert sqlite3.connect(aside).execute("SELECT count(*) FROM outcomes").fetchone() == (1,)


def test_a_row_that_was_changed_is_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    ResultCache(path, "a").put([((1,), 0, metrics(0))])
    with sqlite3.connect(path) as database:
        database.execute("UPDATE outcomes SET outcomes = ?", (pack_metrics(metrics(1)),))
    cache = ResultCache(path, "a")
    with pytest.warns(UserWarning, match="does not match its checksum"):
        assert cache.get((1,)) == {}
    assert list(tmp_path.glob("*.aside-*"))


def test_a_cache_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AdrlGymError, match="name another file, or none"):
        ResultCache(tmp_path / "file" / "cache.sqlite", "a")
    with pytest.raises(AdrlGymError, match="name another file, or none"):
        ResultCache(tmp_path, "a")  # a folder


def options(output: Path, cache: Path | str, seed: int, episodes: int) -> dict[str, Any]:
    tiny = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "context": "completed", "k": 3}
    return {**tiny, "episodes": episodes, "evaluations": 10**6, "seed": seed, "output": output, "cache": cache}


def search(output: Path, cache: Path | str) -> SearchResult:
    return search_with("adrl", ADRLOptions(**options(output, str(cache), 1, 40)))


def found(result: SearchResult) -> tuple[dict[str, int], float, float | None]:
    return result.bits, result.search_accuracy, result.search_kl


@pytest.mark.usefixtures("scripts")
def test_two_searches_share_a_cache_and_one_is_killed(tmp_path: Path) -> None:
    alone = search(tmp_path / "alone", "none")
    cache = tmp_path / "cache.sqlite"
    command = [sys.executable, "agents/train_adrl.py", *arguments(**options(tmp_path / "victim", cache, 2, 10_000))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as victim:
        deadline = time.monotonic() + 120
        while not (tmp_path / "victim" / "episodes.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert victim.poll() is None
        kill = threading.Timer(0.2, victim.kill)  # in the middle of the other search
        kill.start()
        other = search(tmp_path / "other", cache)
    assert victim.returncode == -signal.SIGKILL
    assert found(other) == found(alone)
    assert sqlite3.connect(cache).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(tmp_path.glob("*.aside-*"))
    # and a repeated search measures no configuration again, only takes its gradients
    again = search(tmp_path / "again", cache)
    assert found(again) == found(alone)
    assert (again.evaluations < other.evaluations, again.memo_misses) == (True, 0)
