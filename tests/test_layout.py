"""The house rules that ``make check`` enforces: the order of imports, packages' names, sizes."""

import ast
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ("adrl_gym", "agents/adrl_agents", "benchmarks")
MOST_LINES, MOST_MODULES = 300, 16
# What every command module and every script has, by the same name on purpose.
SCRIPT_NAMES = {"main", "check", "Options", "OPTIONS"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of both packages and the contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("adrl_gym", "agents/adrl_agents"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.npz", "*.safetensors"))
    return tmp_path


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command of ``make check`` in a folder."""
    program = "import sys; sys.path[:0] = ['agents']; from importlinter.cli import lint_imports_command as lint; lint()"
    command = [sys.executable, "-c", program, "--no-cache"]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{folder}:{folder}/agents"},
    )


def plant(path: Path, line: str) -> None:
    path.write_text(path.read_text().replace("\nfrom ", f"\n{line}\nfrom ", 1))


def test_the_order_of_imports_holds(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("adrl_gym/graph/partition.py", "import adrl_gym.evaluation", "adrl_gym imports along the flow"),
        ("adrl_gym/problem.py", "import adrl_agents.runs", "adrl_gym never imports adrl_agents"),
        ("agents/adrl_agents/runs/folder.py", "import adrl_agents.search", "adrl_agents imports along the flow"),
        (
            "adrl_gym/problem.py",
            "from adrl_gym.quantization.gptq import gptq",
            "adrl_gym.quantization is imported by its own name alone",
        ),
    ],
)
def test_a_planted_import_is_refused(copy: Path, module: str, line: str, broken: str) -> None:
    plant(copy / module, line)
    done = lint_imports(copy)
    assert done.returncode == 1
    assert any(broken in row and row.endswith("BROKEN") for row in done.stdout.splitlines())


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_modules_and_folders_stay_small() -> None:
    paths = modules("adrl_gym", "agents", "benchmarks", "tests")
    long = {str(p.relative_to(ROOT)): n for p in paths if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert long == {}
    counts: dict[Path, int] = defaultdict(int)
    for path in paths:
        counts[path.parent] += 1
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > MOST_MODULES} == {}


def defined(path: Path) -> set[str]:
    """Public names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return {name for name in names if not name.startswith("_")} - SCRIPT_NAMES


def test_no_name_means_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules(*LIBRARY):
        for name in defined(path):
            places[name].append(str(path.relative_to(ROOT)))
    assert {name: there for name, there in places.items() if len(there) > 1} == {}
