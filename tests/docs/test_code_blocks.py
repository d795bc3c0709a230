"""Every Python block of the documents runs; the tutorial's commands print what the page says (``...`` is anything)."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from adrl_agents.cli import main
from adrl_agents.runs import SearchResult
from adrl_gym.export import load_packed
from adrl_gym.models import load_network
from adrl_gym.quantization import QUANTIZERS

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```python\n" in page.read_text() and page != TUTORIAL
]


def run_python(example: Example) -> None:
    """Run a block in the page's namespace, and keep what it prints."""
    code = "\n" * (example.line + example.parsed.line_offset) + str(example.parsed)  # tracebacks show the page's line
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, example.path, "exec"), example.namespace)
    example.namespace["printed"] = printed.getvalue()


def run_commands(example: Example) -> None:
    """Run a block's commands in this process: ten new interpreters would take most of the time."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for command in str(example.parsed).replace("\\\n", " ").splitlines():
            program, *sys.argv = shlex.split(command)
            if program == "adrl-gym":
                assert main(sys.argv) == 0, command
            else:
                assert program == "python"
                runpy.run_path(sys.argv[0], run_name="__main__")
    example.namespace["printed"] = printed.getvalue()


def words(text: str) -> str:
    """One space between words, without the line below a table's header."""
    return " ".join(text.replace("─", "").split())


def compare_output(example: Example) -> None:
    pattern = re.escape(words(str(example.parsed))).replace(re.escape("..."), ".*")
    printed = example.namespace["printed"]
    assert re.fullmatch(pattern, words(printed)), f"the page has:\n{example.parsed}\nprinted was:\n{printed}"


def evaluate(page: Path, *parsers: CodeBlockParser) -> list[object]:
    """Evaluate the page's blocks in order, and return their languages."""
    document = Sybil(parsers=[CodeBlockParser("python", run_python), *parsers]).parse(page)
    document.namespace["__name__"] = "__main__"
    languages = []
    for example in document.examples():
        example.evaluate()
        languages.append(example.region.lexemes["arguments"])
    return languages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(QUANTIZERS, "largest-weight", QUANTIZERS["linear"])  # what a page adds goes again
    assert evaluate(page)
    if page.stem == "finetuning":
        float_network = load_network("cifarnet").network
        small = load_packed(tmp_path / "small.safetensors", float_network)
        values, weights = (net.get_parameter("fc2.weight")[0].unique() for net in (small, float_network))
        assert len(values) <= 2**3 < len(weights)


def test_pages_with_python_are_found() -> None:
    assert {"README", "environment", "finetuning", "agents", "own-network"} <= {page.stem for page in PAGES}


def test_tutorial_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("agents", "docs"):  # a clone, in which the page writes into runs/
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    languages = evaluate(TUTORIAL, CodeBlockParser("sh", run_commands), CodeBlockParser("text", compare_output))
    assert {*languages} == {"sh", "python", "text"}
    monkeypatch.delitem(sys.modules, "shapes", raising=False)

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
