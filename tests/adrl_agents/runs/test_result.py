import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adrl_agents.runs.result import SearchResult
from adrl_gym import AdrlGymError
from adrl_gym.costs import average_bits, size_ratio
from adrl_gym.files import write_whole

percent = st.floats(0, 100)
positive = st.floats(0, 1e9)
words = st.text(st.characters(categories=["L", "N"], include_characters="-/._ \"'"), max_size=20)


@st.composite
def results(draw: st.DrawFn) -> SearchResult:
    shapes = draw(st.dictionaries(words, st.lists(st.integers(1, 500), min_size=2, max_size=4), min_size=1, max_size=6))
    bits = {name: draw(st.integers(1, 8)) for name in shapes}
    return (
        make(shapes=shapes, bits=bits)
        if draw(st.booleans())
        else make(
            shapes=shapes,
            bits=bits,
            env_id=draw(words),
            agent=draw(words),
            seed=draw(st.integers(0, 2**32)),
            options=draw(
                st.dictionaries(words, st.none() | words | st.integers() | st.booleans() | percent, max_size=4)
            ),
            status=draw(st.sampled_from(["running", "interrupted", "finished"])),
            search_accuracy=draw(percent),
            search_kl=draw(st.none() | positive),
            test_accuracy=draw(st.none() | percent),
            seconds=draw(positive),
            evaluations=draw(positive),
            git_commit=draw(st.none() | words),
        )
    )


def make(**changes: Any) -> SearchResult:
    """A result of two layers, with ``changes``; sizes follow from bits and shapes."""
    shapes = changes.setdefault("shapes", {"conv1": [16, 3, 3, 3], "fc": [10, 16]})
    bits = changes.setdefault("bits", {"conv1": 4, "fc": 2})
    parameters = [math.prod(shape) for shape in shapes.values()]
    values: dict[str, Any] = {
        "env_id": "adrl_gym/ResNet20-Cifar10-v0",
        "agent": "adrl",
        "seed": 3,
        "options": {"budget": 0.1, "k": 4},
        "status": "finished",
        "size_ratio": size_ratio(list(bits.values()), parameters),
        "average_bits": average_bits(list(bits.values()), parameters),
        "float_search_accuracy": 91.0,
        "search_accuracy": 89.5,
        "search_agreement": 93.25,
        "search_kl": 0.125,
        "data": "cifar10",
        "data_source": "CIFAR-10: 1,000 search images",
        "episodes": 30,
        "evaluations": 312.25,
        "memo_hits": 7,
        "memo_misses": 400,
        "preparation_seconds": 7.5,
        "seconds": 60.0,
        "checkpoint": "0123abcd",
        "versions": {"torch": "2.4.0"},
    }
    return SearchResult(**{**values, **changes})


@given(results())
def test_json_gives_the_same_result_back(result: SearchResult) -> None:
    assert SearchResult.from_json(result.to_json()) == result


def test_saving_and_loading(tmp_path: Path) -> None:
    result = make()
    result.save(tmp_path / "result.json")
    assert SearchResult.load(tmp_path / "result.json") == result
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_what_there_is_not_is_left_out() -> None:
    without = json.loads(make().to_json())
    assert "test_accuracy" not in without
    assert "git_commit" not in without
    assert json.loads(make(test_accuracy=88.0, float_test_accuracy=90.0).to_json())["test_accuracy"] == 88.0


def test_the_bits_come_as_a_configuration() -> None:
    assert make().config.for_layers(["fc", "conv1"]) == (2, 4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 2, "schema 2; this version reads schema 1"),
        ("bits", {"conv1": 4, "fc": 8}, "the bits make a size_ratio of"),
        ("bits", {"conv1": 4}, "name different layers"),
        ("bits", {"conv1": 4, "fc": 9}, "layer fc: 9 is no bit-width"),
        ("bits", {"conv1": 4, "fc": 2.5}, "bits.fc cannot be 2.5"),
        ("shapes", {"conv1": [16, 3, 3, 3], "fc": [10, 0]}, "at least one weight"),
        ("shapes", {"conv1": [16, 3, 3, 3], "fc": [10, 17]}, "size_ratio"),
        ("average_bits", 2.0, "average_bits, not 2"),
        ("search_accuracy", 101, "percent go from 0 to 100"),
        ("search_accuracy", float("nan"), "search_accuracy cannot be nan"),
        ("seconds", -1, "seconds cannot be -1"),
        ("episodes", True, "episodes cannot be True"),
        ("status", "done", "status cannot be 'done'"),
        ("colour", "red", "unknown colour"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(make().to_json()), key: value}))
    with pytest.raises(AdrlGymError, match=message) as caught:
        SearchResult.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ('{"schema": 1,', "not JSON"),
        ("[]", "not a search result"),
        ('{"bits": {}}', "no schema version"),
        ('{"schema": 1, "bits": {}}', "agent, average_bits, .* missing"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(AdrlGymError, match=message):
        SearchResult.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AdrlGymError, match=r"nowhere\.json"):
        SearchResult.load(tmp_path / "nowhere.json")


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AdrlGymError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
