"""docs/tutorial.md, block by block: each command runs, and prints what the page says (``...`` stands for anything)."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from adrl_agents.runs.result import SearchResult
from adrl_gym.export.packed import load_packed
from adrl_gym.models.named import load_network

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def status(script: str) -> object:
    """Of a command."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0


def run(kind: str, block: str) -> str:
    """What a block prints. Commands run in this process: ten new interpreters would take most of the time."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), {"__name__": "__main__"})
            return printed.getvalue()
        for command in block.replace("\\\n", " ").splitlines():
            program, script, *sys.argv[1:] = shlex.split(command)
            assert program == "python"
            sys.argv[0] = script
            assert status(script) == 0, command
    return printed.getvalue()


def words(text: str) -> str:
    """One space between words; the line below a table's header counts for none."""
    return " ".join(text.replace("─", "").split())


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("agents", "docs"):  # a clone, in which the page writes into runs/
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    printed, kinds = "", []
    for kind, block in BLOCK.findall(PAGE.read_text()):
        kinds.append(kind)
        if kind == "text":
            pattern = re.escape(words(block)).replace(re.escape("..."), ".*")
            assert re.fullmatch(pattern, words(printed)), f"the page has:\n{block}\nprinted was:\n{printed}"
        else:
            printed = run(kind, block)
    assert {*kinds} == {"sh", "python", "text"}

    results = {path.parent.name: SearchResult.load(path) for path in tmp_path.glob("runs/tutorial/*/result.json")}
    assert {name: (r.agent, r.bits["fc"]) for name, r in results.items()} == {
        "adrl": ("adrl", 8),
        "smaller": ("from-adrl", 8),
        "data-free": ("adrl", 8),
    }
    adrl = results["adrl"]
    assert adrl.test_accuracy is not None
    assert adrl.float_test_accuracy is not None
    assert adrl.float_test_accuracy > 80, "the network has learned something"
    assert adrl.test_accuracy > adrl.float_test_accuracy - 20, "and keeps most of it in 3 bits"
    monkeypatch.delitem(sys.modules, "shapes", raising=False)


def test_the_python_of_the_page_on_finetuning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ((kind, block),) = BLOCK.findall((ROOT / "docs" / "finetuning.md").read_text())
    assert kind == "python"
    run(kind, block)
    float_network = load_network("cifarnet").network
    small = load_packed(tmp_path / "small.safetensors", float_network)
    levels, weights = (net.get_parameter("fc2.weight")[0].unique() for net in (small, float_network))
    assert len(levels) <= 2**3 < len(weights)
